"""Slots, timeouts, and clients that go away."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from icdpo_chains import Demonstration, FixedDemonstrations
from icdpo_chains.server import ServerLimits, create_app
from tests.unit.fake_core import make_core
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
async def test_a_client_that_goes_away_frees_its_place_when_its_thread_stops(
    policy: HeldPolicy, stream: bool, path: str
) -> None:
    app = create_app(policy.core())
    question: dict[str, Any] = {"messages": QUESTION} if path == CHAT else {"prompt": "My dog is ill."}
    exchange = Exchange(app, {**question, "stream": stream}, path)
    await until(lambda: policy.begun.acquire(blocking=False))
    assert app.state.service.queue.taken == 1
    exchange.leave()
    await asyncio.wait_for(exchange.task, 5)
    assert app.state.service.queue.taken == 1  # its thread still works
    policy.go.set()
    await until(lambda: app.state.service.queue.taken == 0)


async def test_a_client_that_goes_away_in_the_middle_of_a_stream_frees_its_slot(
    policy: HeldPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icdpo_chains.server.event_stream._KEEP_ALIVE", 0.02)
    app = create_app(policy.core())
    exchange = Exchange(app, {"messages": QUESTION, "stream": True})
    await until(lambda: ": still at work" in exchange.text)
    assert '"role": "assistant"' in exchange.text
    assert app.state.service.queue.taken == 1
    exchange.leave()
    await asyncio.wait_for(exchange.task, 5)
    policy.go.set()
    await until(lambda: app.state.service.queue.taken == 0)
    async with make_client() as client:  # what was counted, seen through another door
        client._transport.app = app  # type: ignore[attr-defined]
        assert f'endpoint="{CHAT}",status="499"}} 1.0' in (await client.get("/metrics")).text


async def test_what_is_taken_back_reaches_the_policy(policy: HeldPolicy) -> None:
    from icdpo_chains.foundation.concurrency import cancellation

    events: list[Any] = []
    sample = policy.sample
    policy.sample = lambda *args: events.append(cancellation.get()) or sample(*args)  # type: ignore[func-returns-value, method-assign]
    exchange = Exchange(create_app(policy.core()), {"messages": QUESTION})
    await until(lambda: events)
    assert not events[0].is_set()
    exchange.leave()
    await asyncio.wait_for(exchange.task, 5)
    await until(lambda: events[0].is_set())


async def test_an_answer_that_takes_too_long_is_a_504_and_holds_its_place_until_its_thread_stops(
    policy: HeldPolicy, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_client(policy.core(), limits=ServerLimits(request_timeout=0.05)) as client:
        for body in ({"messages": QUESTION}, {"messages": QUESTION, "stream": True}):
            response = await client.post(CHAT, json=body)
            assert (response.status_code, response.json()["error"]["code"]) == (504, "timeout")
        assert "Traceback" not in caplog.text
        queue = client.app.state.service.queue  # type: ignore[attr-defined]
        assert queue.taken == 2
        policy.go.set()
        await until(lambda: queue.taken == 0)


@pytest.mark.parametrize("slow", ["retrieve", "context", "sample", "logprobs"])
@pytest.mark.parametrize("leaves", [False, True])
async def test_no_stage_begins_and_no_time_is_used_after_a_504_or_a_disconnection(
    slow: str, leaves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = make_core(["a", "b"])
    answers = core.policy.sample([1], 2, core.sampling)
    monkeypatch.setattr(core.policy, "sample", lambda *args: answers)  # FakePolicy's calls logprobs
    stages: list[str] = []

    def watch(target: Any, name: str) -> None:
        call = getattr(target, name)

        def stage(*args: Any, **options: Any) -> Any:
            stages.append(name)
            end = time.monotonic() + 0.4
            while name == slow and time.monotonic() < end:
                pass
            return call(*args, **options)

        monkeypatch.setattr(target, name, stage)

    for target, name in [
        (core.retriever, "retrieve"),
        (core.format, "context"),
        (core.policy, "sample"),
        (core.policy, "logprobs"),
    ]:
        watch(target, name)
    app = create_app(core, limits=ServerLimits(request_timeout=30 if leaves else 0.1))
    exchange = Exchange(app, {"messages": QUESTION})
    if leaves:
        await until(lambda: slow in stages)
        exchange.leave()
    await asyncio.wait_for(exchange.task, 5)
    assert exchange.sent[0]["status"] == (499 if leaves else 504)
    await until(lambda: app.state.service.queue.taken == 0)
    assert stages[-1] == slow, "a stage began after the question was given up"
    used = time.process_time()
    await asyncio.sleep(0.5)
    assert time.process_time() - used < 0.1


async def test_many_demonstrations_are_answered_soon() -> None:
    many = [Demonstration(f"question {i}?", "good " * 30, "bad " * 30) for i in range(700)]
    core = make_core(retriever=FixedDemonstrations(many), policy_context=8192)
    async with make_client(core, limits=ServerLimits(max_demonstrations=10_000)) as client:
        used = time.process_time()
        response = await client.post(CHAT, json={"messages": QUESTION, "icdpo": {"k": 10_000}})
        assert time.process_time() - used < 5  # 35 s, where each dropped demonstration cost a rendering
    assert response.status_code == 200
    report = response.json()["icdpo"]
    assert len(report["demonstrations"]) + len(report["dropped"]) == 700


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"icdpo": {"k": 6}}, "icdpo.k has 6 demonstrations, and the limit of this server is 5"),
        ({"icdpo": {"n": 6}}, "icdpo.n has 6 candidates, and the limit of this server is 5"),
        ({"icdpo": {"n": 300}}, "icdpo.n has 300 candidates, and the limit of this server is 5"),
        ({"icdpo": {"finalists": 6}}, "icdpo.finalists has 6 candidates"),
        ({"n": 6}, "n has 6 candidates, and the limit of this server is 5"),
        ({"messages": [{"role": "user", "content": "a" * 101}]}, "the conversation has 101 characters"),
    ],
)
async def test_the_operators_limits_are_the_ones_that_are_named(field: dict[str, Any], message: str) -> None:
    limits = ServerLimits(max_candidates=5, max_demonstrations=5, max_characters=100)
    async with make_client(limits=limits) as client:
        refused = await client.post(CHAT, json={"messages": QUESTION, **field})
        assert refused.status_code == 400
        assert message in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    "field", [{"k": 6}, {"responses": ["a"] * 6}, {"responses": ["a" * 101]}, {"prompt": "a" * 101}]
)
async def test_scores_have_the_same_limits(field: dict[str, Any]) -> None:
    limits = ServerLimits(max_candidates=5, max_demonstrations=5, max_characters=100)
    async with make_client(limits=limits) as client:
        refused = await client.post("/v1/score", json={"prompt": "a?", "responses": ["a"], **field})
        assert refused.status_code == 400
        assert "the limit of this server is" in refused.json()["error"]["message"]


async def test_a_stream_that_takes_too_long_says_so_in_itself(
    policy: HeldPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icdpo_chains.server.event_stream._KEEP_ALIVE", 0.01)
    async with make_client(policy.core(), limits=ServerLimits(request_timeout=1)) as client:
        response = await client.post(CHAT, json={"messages": QUESTION, "stream": True})
    assert response.status_code == 200
    assert '"code": "timeout"' in response.text
    assert response.text.endswith("data: [DONE]\n\n")
