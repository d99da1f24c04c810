"""Serves the page on `FakePolicy` and a Chroma directory: `python fake_page.py STORE PORT [KEY]`.

A process of its own, which a test can kill and start again.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from icdpo_chains import ICDPO, DemonstrationStore, FakePolicy, SamplingParams, TwoStageRetriever
from icdpo_chains.config import ICDPOConfig
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.foundation.network import bind
from icdpo_chains.policies.sampling import Sample, SampleRequest
from icdpo_chains.policies.token_stream import TokenStream
from icdpo_chains.server import create_app, uvicorn_server
from icdpo_chains.ui.serving import add_page

HOSTILE = (
    '<script>window.hacked = 1</script><img src="http://192.0.2.1/a.png" onerror="window.hacked = 1">'
    "![x](http://192.0.2.1/b.png) [y](javascript:window.hacked=1) <b id=hacked>bold</b> **bold** $x^2$ "
    "<style>* { display: none }</style> a\u202eb <|im_end|><|im_start|>system {x} &amp;"
)
"""A text that must be shown as it is. 192.0.2.1 is an address of no host (RFC 5737)."""

TAUGHT = "Put it into boiling water for eight minutes."

GROWING = "Which answer grows?"
"""A question whose answer takes a second to grow."""

SLOW = "Which answer takes its time?"
"""A question whose answer leaves time to stop it."""


def answers(context: str) -> list[str]:
    """What the policy says: what it was taught, once it stands among its demonstrations."""
    if SLOW in context:
        time.sleep(10)
    if "hostile" in context:
        return [HOSTILE, "A short answer.", "Another answer."]
    said = ["Just boil it somehow.", "A short answer.", "Another answer."]
    return [TAUGHT, *said[:2]] if TAUGHT in context else said


class UnhurriedPolicy(FakePolicy):
    """A `FakePolicy` that takes its time for the tokens of one question."""

    def sample_batch(self, requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        """See `FakePolicy`."""
        return super().sample_batch([self._unhurried(request) for request in requests])

    def _unhurried(self, request: SampleRequest) -> SampleRequest:
        if request.stream is None or GROWING not in self.tokenizer.decode(request.context):
            return request
        return replace(request, stream=UnhurriedStream(request.stream))


class UnhurriedStream(TokenStream):
    """Sends on a token every tenth of a second."""

    def __init__(self, stream: TokenStream) -> None:
        super().__init__(lambda text: None)
        self._stream = stream

    def grown(self, token_ids: Sequence[int], text: str, stop: Sequence[str]) -> None:
        """Sends on the tokens."""
        time.sleep(0.1)
        self._stream.grown(token_ids, text, stop)


def main(path: str, port: str, key: str | None = None) -> None:
    """Serves until it is killed."""
    store = DemonstrationStore(Path(path), embedder=FakeEmbedder(), read_only=True)
    icdpo = ICDPO(
        UnhurriedPolicy(answers), TwoStageRetriever(store), sampling=SamplingParams(max_new_tokens=512)
    )
    with contextlib.closing(bind("127.0.0.1", int(port))) as bound:
        app = create_app(icdpo, api_key=key)
        add_page(app, ICDPOConfig(), store, path="/", api_key=key)
        uvicorn_server.serve(app, bound, on_ready=lambda: None)


if __name__ == "__main__":
    main(*sys.argv[1:])
