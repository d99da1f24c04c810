"""Batches of prompts: one call of the core, a run for each."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import RunnableLambda

from icdpo_chains import ICDPO, SamplingParams
from icdpo_chains.errors import ContextOverflowError, InvalidInputError
from langchain_icdpo import ChatICDPO

from ...fake_core import make_core

QUESTIONS = ["One?", "Two?", "Three?", "One?"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The core's calls, by name."""
    made: list[str] = []
    for name in ("generate", "generate_batch"):
        original = getattr(ICDPO, name)

        def spy(self: ICDPO, *args: Any, _name: str = name, _original: Any = original, **options: Any) -> Any:
            made.append(_name)
            return _original(self, *args, **options)

        monkeypatch.setattr(ICDPO, name, spy)
    return made


@pytest.fixture
def chat() -> ChatICDPO:
    return ChatICDPO(icdpo=make_core((), sampling=SamplingParams(max_new_tokens=15)), seed=2)


def of_batch(calls: list[str]) -> bool:
    """Whether the core was called once; its own batch may well call its own `generate`."""
    return calls.count("generate_batch") == 1 and calls[0] == "generate_batch"


async def test_a_batch_is_one_call_of_the_core_and_equals_single_calls(
    chat: ChatICDPO, calls: list[str]
) -> None:
    batch = [message.content for message in chat.batch(QUESTIONS)]
    assert of_batch(calls)
    calls.clear()
    assert [message.content for message in await chat.abatch(QUESTIONS)] == batch
    assert of_batch(calls)
    assert [chat.invoke(question).content for question in QUESTIONS] == batch
    assert chat.batch([]) == []


def test_settings_of_the_call_reach_the_batch(chat: ChatICDPO, calls: list[str]) -> None:
    messages = chat.bind(n=4).batch(QUESTIONS, max_tokens=3)
    assert of_batch(calls)
    for message in messages:
        candidates = message.response_metadata["icdpo"]["candidates"]
        assert len(candidates) == 4
        assert all(candidate["num_tokens"] <= 3 for candidate in candidates)


def test_within_a_chain_a_batch_stays_one(chat: ChatICDPO, calls: list[str]) -> None:
    chain = RunnableLambda(lambda text: f"{text} Please.") | chat
    assert len(chain.batch(QUESTIONS)) == 4
    assert of_batch(calls)


def test_each_prompt_has_a_run_of_its_own(chat: ChatICDPO) -> None:
    class Listener(BaseCallbackHandler):
        def __init__(self) -> None:
            self.runs: list[Any] = []

        def on_chat_model_start(self, serialized: Any, messages: Any, *, tags: Any, **kwargs: Any) -> None:
            self.runs.append((messages[0][0].content, tags))

    listener = Listener()
    configs = [{"callbacks": [listener], "tags": [f"tag {i}"]} for i in range(3)]
    chat.batch(QUESTIONS[:3], configs)
    assert listener.runs == [(question, [f"tag {i}"]) for i, question in enumerate(QUESTIONS[:3])]


async def test_an_error_stands_where_its_prompt_stood(calls: list[str]) -> None:
    core = make_core((), policy_context=900, sampling=SamplingParams(max_new_tokens=15, seed=1))
    chat = ChatICDPO(icdpo=core)
    prompts = ["One?", "x" * 2000, "", "Two?"]
    kinds = [AIMessage, ContextOverflowError, InvalidInputError, AIMessage]
    outcomes: list[Any] = chat.batch(prompts, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == kinds
    assert of_batch(calls)
    outcomes = await chat.abatch(prompts, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == kinds
    with pytest.raises(ContextOverflowError):
        chat.batch(prompts)
    with pytest.raises(InvalidInputError):
        await chat.abatch(["One?", ""])


def test_a_cache_or_a_rate_limit_is_asked_prompt_by_prompt(calls: list[str]) -> None:
    core = make_core(())
    cached = ChatICDPO(icdpo=core, cache=InMemoryCache())
    first = cached.batch(QUESTIONS[:2])
    assert calls == ["generate", "generate"]
    assert [message.content for message in cached.batch(QUESTIONS[:2])] == [m.content for m in first]
    assert calls == ["generate", "generate"]
    limited = ChatICDPO(icdpo=core, rate_limiter=InMemoryRateLimiter(requests_per_second=1000))
    limited.batch(QUESTIONS[:2])
    assert "generate_batch" not in calls


def test_batches_of_two_models_do_not_cross(chat: ChatICDPO) -> None:
    other = ChatICDPO(icdpo=make_core(["other"], n=1))
    asking = RunnableLambda(lambda text: (chat.invoke(text).content, other.invoke(text).content))
    assert asking.batch(QUESTIONS) == [(chat.invoke(q).content, "other") for q in QUESTIONS]
