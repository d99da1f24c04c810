"""A single candidate is streamed while it is sampled."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import Any

import pytest

from icdpo_chains import ICDPO, FakePolicy, FixedDemonstrations, Sample
from icdpo_chains.foundation.concurrency import cancellation
from icdpo_chains.policies.sampling import SampleRequest
from icdpo_chains.server import create_app
from icdpo_chains.server.live_text import LiveText
from tests.unit.fake_core import DEMONSTRATIONS, KIND, make_core
from tests.unit.server.client import QUESTION, Exchange, events, make_client, until

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


class SlowPolicy(FakePolicy):
    """Tells the first half of its answer, and the rest when it is let go."""

    def __init__(self) -> None:
        super().__init__([KIND])
        self.go, self.stopped = threading.Event(), threading.Event()

    def sample_batch(self, requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        stream, event = requests[0].stream, cancellation.get()
        assert stream is not None
        assert event is not None
        half = KIND[:20]
        stream.grown(self.tokenizer(half).input_ids, half, ())
        while not self.go.wait(0.01):
            if event.is_set():
                self.stopped.set()
                raise CancelledError
        return super().sample_batch(requests)

    def core(self) -> ICDPO:
        return ICDPO(self, FixedDemonstrations(DEMONSTRATIONS, k=2), n=1)


def body_of(path: str, **body: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"messages": QUESTION} if path == CHAT else {"prompt": QUESTION[0]["content"]}
    return {**asked, **body}


def text_of(chunks: Sequence[dict[str, Any]]) -> str:
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return "".join(choice.get("text", choice.get("delta", {}).get("content", "")) for choice in choices)


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("decoding", ["sample", "guided"])
async def test_the_chunks_joined_are_the_answer(path: str, decoding: str) -> None:
    body = body_of(path, seed=3, max_tokens=48, icdpo={"n": 1, "decoding": decoding})
    async with make_client(make_core(())) as client:
        plain = (await client.post(path, json=body)).json()
        usage = {"include_usage": True}
        chunks = events(await client.post(path, json={**body, "stream": True, "stream_options": usage}))
    choice = plain["choices"][0]
    assert text_of(chunks) == choice.get("text", choice.get("message", {}).get("content"))
    assert sum("icdpo" in chunk for chunk in chunks) == 1
    assert "icdpo" in chunks[-2]
    assert chunks[-1]["usage"] == plain["usage"]


@pytest.mark.parametrize("path", [CHAT, TEXT])
async def test_text_comes_before_the_answer_has_ended(path: str) -> None:
    policy = SlowPolicy()
    app = create_app(policy.core())
    exchange = Exchange(app, body_of(path, stream=True), path)
    await until(lambda: KIND[:20] in exchange.text)
    assert "[DONE]" not in exchange.text
    policy.go.set()
    await until(lambda: "[DONE]" in exchange.text)
    assert '"finish_reason": "stop"' in exchange.text
    exchange.leave()
    await asyncio.wait_for(exchange.task, 5)
    assert app.state.service.queue.taken == 0


@pytest.mark.parametrize("path", [CHAT, TEXT])
async def test_a_client_that_leaves_in_the_middle_frees_its_place(path: str) -> None:
    policy = SlowPolicy()
    app = create_app(policy.core())
    exchange = Exchange(app, body_of(path, stream=True), path)
    await until(lambda: KIND[:20] in exchange.text)
    exchange.leave()
    await asyncio.wait_for(exchange.task, 5)
    assert await asyncio.to_thread(policy.stopped.wait, 5)
    await until(lambda: app.state.service.queue.taken == 0)


async def test_a_text_that_has_not_grown_makes_no_chunk() -> None:
    live = LiveText(lambda piece: {"piece": piece})
    for text in ("on", "one", "on"):
        live.put(text)
    await asyncio.wait_for(live.grown(), 5)
    await asyncio.sleep(0)
    assert live.next() == {"piece": "one"}
    assert live.next() is None
    live.put("one")
    await asyncio.sleep(0.01)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(live.grown(), 0.01)
    assert live.rest("one two") == " two"
