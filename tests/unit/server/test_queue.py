"""Slots, timeouts, and clients that go away."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from icdpo_chains.server import ServerLimits, create_app
from tests.unit.server.client import QUESTION, Exchange, HeldPolicy, make_client, until

CHAT = "/v1/chat/completions"


@pytest.fixture
def policy() -> Iterator[HeldPolicy]:
    held = HeldPolicy()
    yield held
    held.go.set()  # no thread is left waiting


async def test_one_more_than_may_wait_is_a_429_and_the_others_are_answered(policy: HeldPolicy) -> None:
    async with make_client(policy.core(), limits=ServerLimits(max_waiting=2)) as client:
        taken = [asyncio.ensure_future(client.post(CHAT, json={"messages": QUESTION})) for _ in range(2)]
        queue = client.app.state.service.queue  # type: ignore[attr-defined]
        await until(lambda: queue.taken == 2)
        for body in ({"messages": QUESTION}, {"messages": QUESTION, "stream": True}):
            refused = await client.post(CHAT, json=body)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert refused.json()["error"]["type"] == "rate_limit_error"
        assert "icdpo_waiting 2.0" in (await client.get("/metrics")).text
        policy.go.set()
        assert [response.status_code for response in await asyncio.gather(*taken)] == [200, 200]
        assert queue.taken == 0
        assert (await client.post(CHAT, json={"messages": QUESTION})).status_code == 200


async def test_each_prompt_of_a_request_takes_a_slot(policy: HeldPolicy) -> None:
    async with make_client(policy.core(), limits=ServerLimits(max_waiting=2)) as client:
        first = asyncio.ensure_future(client.post(CHAT, json={"messages": QUESTION}))
        queue = client.app.state.service.queue  # type: ignore[attr-defined]
        await until(lambda: queue.taken == 1)
        assert (await client.post("/v1/completions", json={"prompt": ["a", "b"]})).status_code == 429
        policy.go.set()
        await first


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
async def test_a_client_that_goes_away_frees_its_slot(policy: HeldPolicy, stream: bool, path: str) -> None:
    app = create_app(policy.core())
    question: dict[str, Any] = {"messages": QUESTION} if path == CHAT else {"prompt": "My dog is ill."}
    exchange = Exchange(app, {**question, "stream": stream}, path)
    await until(lambda: policy.begun.acquire(blocking=False))
    assert app.state.service.queue.taken == 1
    exchange.leave()
    await asyncio.wait_for(exchange.task, 5)
    await until(lambda: app.state.service.queue.taken == 0)


async def test_a_client_that_goes_away_in_the_middle_of_a_stream_frees_its_slot(
    policy: HeldPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icdpo_chains.server.protocol.streaming._KEEP_ALIVE", 0.02)
    app = create_app(policy.core())
    exchange = Exchange(app, {"messages": QUESTION, "stream": True})
    await until(lambda: ": still at work" in exchange.text)
    assert '"role": "assistant"' in exchange.text
    assert app.state.service.queue.taken == 1
    exchange.leave()
    await asyncio.wait_for(exchange.task, 5)
    await until(lambda: app.state.service.queue.taken == 0)
    async with make_client() as client:  # what was counted, seen through another door
        client._transport.app = app  # type: ignore[attr-defined]
        assert f'endpoint="{CHAT}",status="499"}} 1.0' in (await client.get("/metrics")).text


async def test_what_is_taken_back_reaches_the_policy(policy: HeldPolicy) -> None:
    from icdpo_chains.concurrency import cancellation

    events: list[Any] = []
    sample = policy.sample
    policy.sample = lambda *args: events.append(cancellation.get()) or sample(*args)  # type: ignore[func-returns-value, method-assign]
    exchange = Exchange(create_app(policy.core()), {"messages": QUESTION})
    await until(lambda: events)
    assert not events[0].is_set()
    exchange.leave()
    await asyncio.wait_for(exchange.task, 5)
    await until(lambda: events[0].is_set())


async def test_an_answer_that_takes_too_long_is_a_504_and_frees_its_slot(policy: HeldPolicy) -> None:
    async with make_client(policy.core(), limits=ServerLimits(request_timeout=0.05)) as client:
        for body in ({"messages": QUESTION}, {"messages": QUESTION, "stream": True}):
            response = await client.post(CHAT, json=body)
            assert (response.status_code, response.json()["error"]["code"]) == (504, "timeout")
        assert client.app.state.service.queue.taken == 0  # type: ignore[attr-defined]


async def test_a_stream_that_takes_too_long_says_so_in_itself(
    policy: HeldPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icdpo_chains.server.protocol.streaming._KEEP_ALIVE", 0.01)
    async with make_client(policy.core(), limits=ServerLimits(request_timeout=0.2)) as client:
        response = await client.post(CHAT, json={"messages": QUESTION, "stream": True})
    assert response.status_code == 200
    assert '"code": "timeout"' in response.text
    assert response.text.endswith("data: [DONE]\n\n")
