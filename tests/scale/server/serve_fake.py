"""A server on loopback whose answers hold the last word of their question: `python -m tests.scale.server.serve_fake`."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from icdpo_chains import (
    ICDPO,
    DemonstrationStore,
    FakeEmbedder,
    FakePolicy,
    Sample,
    SamplingParams,
    TwoStageRetriever,
)
from icdpo_chains.foundation.network import base_url, bind
from icdpo_chains.policies.micro_batches import MicroBatches
from icdpo_chains.policies.sampling import SampleRequest
from icdpo_chains.server import ServerLimits, create_app
from icdpo_chains.server.uvicorn_server import serve
from tests.unit.fake_core import DEMONSTRATIONS, KIND, RUDE


class BatchingPolicy(FakePolicy):
    """Samples together what waits, and takes its time for it.

    Args:
        seconds: for each batch.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(self._answers)
        # It keeps up to 10,000 texts, which would pass for memory that the server loses.
        self.tokenizer.backend_tokenizer.model._resize_cache(0)
        self._seconds = seconds
        self.batches = MicroBatches(self._run, 64, threading.RLock())

    @property
    def on_batch(self) -> Any:
        return self.batches.on_batch

    @on_batch.setter
    def on_batch(self, call: Any) -> None:
        self.batches.on_batch = call

    def sample_batch(self, requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        return self.batches.sample(requests)

    def _run(self, requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        end = time.monotonic() + self._seconds
        while time.monotonic() < end and not all(
            request.cancelled.is_set() for request in requests if request.cancelled
        ):
            time.sleep(0.01)
        return [self.sample(request.context, request.n, request.sampling) for request in requests]

    @staticmethod
    def _answers(context: str) -> list[str]:
        words = context.rpartition("<|im_start|>user\n")[2].partition("<|im_end|>")[0].split()
        return [f"{RUDE} {words[-1]}", f"{KIND} {words[-1]}"] if words else [KIND]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--key")
    parser.add_argument("--max-waiting", type=int, default=256)
    arguments = parser.parse_args()
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        store.add(DEMONSTRATIONS)
        core = ICDPO(
            BatchingPolicy(arguments.seconds),
            TwoStageRetriever(store, require_rejected=True),
            n=2,
            sampling=SamplingParams(max_new_tokens=200),
        )
        limits = ServerLimits(max_waiting=arguments.max_waiting)
        app = create_app(core, api_key=arguments.key, demonstrations=store, limits=limits)
        bound = bind("127.0.0.1", 0)
        serve(app, bound, on_ready=lambda: print(f"{base_url(bound)}/v1", file=sys.stderr, flush=True))


if __name__ == "__main__":
    main()
