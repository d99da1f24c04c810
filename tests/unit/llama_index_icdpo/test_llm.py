"""`ICDPOLLM` used as LlamaIndex uses an LLM."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import PromptTemplate, Settings
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler, TokenCountingHandler
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.core.program import LLMTextCompletionProgram
from llama_index.core.types import BasePydanticProgram
from pydantic import BaseModel, ValidationError

from icdpo_chains import (
    ICDPO,
    FakePolicy,
    FixedDemonstrations,
    ICDPOConfig,
    PlainFormat,
    Sample,
    SamplingParams,
    defaults,
)
from icdpo_chains.errors import ContextOverflowError, InvalidInputError
from llama_index_icdpo import ICDPOLLM

from ..fake_core import DEMONSTRATIONS, KIND, RUDE, make_core
from .conftest import Events

QUESTION = "I lost my keys."
MESSAGES = [ChatMessage(QUESTION)]
WAYS = ["chat", "complete", "stream_chat", "stream_complete"]


async def answer(
    llm: ICDPOLLM, way: str, *, sync: bool = True, question: str = QUESTION, **options: Any
) -> tuple[str, Any]:
    """The text of an answer, and the last response, by any of the eight methods."""
    asked = [ChatMessage(question)] if "chat" in way else question
    if sync:
        given = getattr(llm, way)(asked, **options)
        responses = list(given) if way.startswith("stream") else [given]
    else:
        given = await getattr(llm, f"a{way}")(asked, **options)
        responses = [response async for response in given] if way.startswith("stream") else [given]
    last = responses[-1]
    text = last.text if hasattr(last, "text") else last.message.content
    if way.startswith("stream"):
        assert "".join(response.delta for response in responses) == text
    return text, last


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
@pytest.mark.parametrize("way", WAYS)
async def test_every_method_gives_the_best_of_n(llm: ICDPOLLM, core: ICDPO, way: str, sync: bool) -> None:
    text, response = await answer(llm, way, sync=sync)
    assert text == KIND
    expected = core.generate(QUESTION)
    assert [c["score"] for c in response.raw["candidates"]] == [c.score for c in expected.candidates]
    assert [c["text"] for c in response.additional_kwargs["icdpo"]["candidates"]] == [KIND, RUDE]
    assert json.loads(json.dumps(response.raw)) == response.raw
    assert json.dumps(response.additional_kwargs)


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
@pytest.mark.parametrize("way", WAYS)
async def test_one_pair_of_events_a_call(llm: ICDPOLLM, events: Events, way: str, sync: bool) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    tokens = TokenCountingHandler()
    llm.callback_manager = CallbackManager([debug, tokens])
    _, response = await answer(llm, way, sync=sync)
    pairs = debug.get_event_pairs(CBEventType.LLM)
    assert [len(pair) for pair in pairs] == [2]
    kind = "LLMChat" if "chat" in way else "LLMCompletion"
    other = "LLMCompletion" if "chat" in way else "LLMChat"
    names = [f"{name}{moment}Event" for name in (kind, other) for moment in ("Start", "End")]
    assert list(events.count(*names).values()) == [1, 1, 0, 0]
    usage = response.raw["usage"]
    assert len(tokens.llm_token_counts) == 1
    assert tokens.prompt_llm_token_count == usage["prompt_tokens"]
    assert tokens.completion_llm_token_count == usage["completion_tokens"]


def test_settings_of_a_call() -> None:
    core = make_core((), sampling=SamplingParams(max_new_tokens=20))
    llm = ICDPOLLM(icdpo=core, n=3, seed=1)
    options = {"n": 5, "k": 1, "seed": 8, "max_tokens": 7, "temperature": 0.5}
    raw = llm.complete(QUESTION, **options).raw
    expected = core.generate(
        QUESTION, n=5, k=1, seed=8, sampling=SamplingParams(max_new_tokens=7, temperature=0.5)
    )
    assert [c["text"] for c in raw["candidates"]] == [c.text for c in expected.candidates]
    assert (len(raw["demonstrations"]), raw["seed"]) == (1, 8)
    assert len(llm.complete(QUESTION).raw["candidates"]) == 3
    excluded = llm.complete(QUESTION, exclude=[DEMONSTRATIONS[0].id]).raw["demonstrations"]
    assert DEMONSTRATIONS[0].id not in [item["id"] for item in excluded]
    with pytest.raises(
        TypeError, match=r"ICDPOLLM takes no 'temprature': it takes n, k, finalists, max_tokens"
    ):
        llm.complete(QUESTION, temprature=1)


def test_metadata_are_the_models() -> None:
    llm = ICDPOLLM(icdpo=make_core(policy_context=2_000), max_tokens=50)
    metadata = llm.metadata
    assert (metadata.context_window, metadata.num_output, metadata.is_chat_model) == (2_000, 50, True)
    assert metadata.model_name == "fake"
    plain = ICDPO(FakePolicy([KIND], chat=False), FixedDemonstrations(DEMONSTRATIONS))
    assert not ICDPOLLM(icdpo=plain).metadata.is_chat_model


def test_a_base_model_is_prompted_once_with_everything() -> None:
    """The bug guarded: query wrapper prompts applied twice."""
    seen: list[str] = []

    def respond(context: str) -> list[str]:
        seen.append(context)
        return [KIND]

    policy = FakePolicy(respond, chat=False)
    llm = ICDPOLLM(
        icdpo=ICDPO(policy, FixedDemonstrations(DEMONSTRATIONS[:1]), n=1),
        system_prompt="Be a pirate.",
        query_wrapper_prompt=PromptTemplate("<<{query_str}>>"),
        completion_to_prompt=lambda prompt: f"[[{prompt}]]",
    )
    llm.predict(PromptTemplate("Why {x}?"), x="{y}")
    assert seen[0].endswith("User: <<Be a pirate.\n\n[[Why {y}?]]>>\nAssistant:")
    llm.complete("Why?")
    assert seen[1].endswith("Be a pirate.\n\nUser: [[Why?]]\nAssistant:")
    llm.complete("Why?", formatted=True)
    assert seen[2].endswith("\n\nUser: Why?\nAssistant:")


def test_the_system_prompt_is_there_once_whoever_puts_it_in() -> None:
    seen: list[str] = []

    def respond(context: str) -> list[str]:
        seen.append(context)
        return [KIND]

    llm = ICDPOLLM(icdpo=make_core(respond), system_prompt="Be a pirate.")
    llm.predict(PromptTemplate("Why?"))
    llm.chat([ChatMessage("Why?")])
    llm.complete("Why?")
    SimpleChatEngine.from_defaults(llm=llm, system_prompt="Be a pirate.").chat("Why?")
    assert [context.count("Be a pirate.") for context in seen] == [1, 1, 1, 1]
    assert all("<|im_start|>system\nBe a pirate.<|im_end|>\n<|im_start|>user\nWhy?" in text for text in seen)


def test_a_user_who_quotes_the_system_prompt_does_not_remove_it() -> None:
    seen: list[str] = []

    def respond(context: str) -> list[str]:
        seen.append(context)
        return [KIND]

    llm = ICDPOLLM(icdpo=make_core(respond), system_prompt="Be a pirate.")
    quote = 'What does "Be a pirate." mean?'
    llm.chat([ChatMessage(quote)])
    llm.complete(quote)
    llm.chat([ChatMessage("Hi."), ChatMessage("Be a pirate.", role="assistant"), ChatMessage("Why?")])
    assert all("<|im_start|>system\nBe a pirate.<|im_end|>" in context for context in seen)


def test_a_messages_to_prompt_of_ones_own_is_used() -> None:
    seen: list[str] = []

    def respond(context: str) -> list[str]:
        seen.append(context)
        return [KIND]

    def render(messages: Sequence[ChatMessage]) -> str:
        return " / ".join(f"{message.role.value}: {message.content}" for message in messages)

    llm = ICDPOLLM(icdpo=make_core(respond), messages_to_prompt=render)
    llm.chat([ChatMessage("S", role="system"), ChatMessage("Hi <|im_end|>")])
    assert "<|im_start|>user\nsystem: S / user: Hi <|im_end|><|im_end|>" in seen[0]


def test_a_chat_engine_remembers(llm: ICDPOLLM) -> None:
    seen: list[str] = []

    def respond(context: str) -> list[str]:
        seen.append(context)
        return [KIND]

    engine = SimpleChatEngine.from_defaults(llm=ICDPOLLM(icdpo=make_core(respond)))
    assert str(engine.chat("Hello, I am Ada.")) == KIND
    assert "".join(engine.stream_chat("Who am I?").response_gen) == KIND
    assert (
        f"Hello, I am Ada.<|im_end|>\n<|im_start|>assistant\n{KIND}<|im_end|>\n<|im_start|>user\nWho am I?"
        in seen[1]
    )


def test_settings_llm(llm: ICDPOLLM) -> None:
    Settings.llm = llm
    assert Settings.llm is llm
    assert Settings.llm.predict(PromptTemplate("{x}"), x=QUESTION) == KIND


def test_structured_prediction_by_prompting() -> None:
    class Person(BaseModel):
        name: str

    llm = ICDPOLLM(icdpo=make_core(['{"name": "Ada"}']))
    assert llm.structured_predict(Person, PromptTemplate("Who is {x}?"), x="{she}") == Person(name="Ada")
    assert llm.as_structured_llm(Person).complete("Who?").raw == Person(name="Ada")


@pytest.mark.parametrize("form", ["chat", "plain"])
async def test_structured_prediction_takes_the_candidate_that_fits(form: str) -> None:
    class Person(BaseModel):
        name: str

    core = make_core([KIND, '{"name": 3}', 'Her name: {"name": "Ada"}'], n=3)
    if form == "plain":
        core = core.with_format(PlainFormat(core.policy.tokenizer))
    assert core.generate("Who?").text == KIND, "the best by the score does not fit"
    llm, prompt, ada = ICDPOLLM(icdpo=core), PromptTemplate("Who is {x}?"), Person(name="Ada")
    assert llm.structured_predict(Person, prompt, x="she") == ada
    assert await llm.astructured_predict(Person, prompt, x="she") == ada
    assert llm.as_structured_llm(Person).complete("Who?").raw == ada
    if LLMTextCompletionProgram.stream_call is not BasePydanticProgram.stream_call:  # the oldest have none
        *_, last = llm.stream_structured_predict(Person, prompt, x="she")
        assert last.name == "Ada"
        *_, last = [item async for item in await llm.astream_structured_predict(Person, prompt, x="she")]
        assert last.name == "Ada"
    assert llm.complete("Who?").text == KIND


async def test_a_response_format_is_preferred_and_given_alone() -> None:
    llm = ICDPOLLM(icdpo=make_core([KIND, 'Well: {"name": "Ada"}'], n=2))
    wanted = {"response_format": {"type": "json_object"}}
    asked, answer = [ChatMessage(content="Who?")], '{"name": "Ada"}'
    assert llm.complete("Who?", **wanted).text == (await llm.acomplete("Who?", **wanted)).text == answer
    assert llm.chat(asked, **wanted).message.content == answer
    assert [(piece.text, piece.delta) for piece in llm.stream_complete("Who?", **wanted)] == [
        (answer, answer)
    ]
    assert [piece.delta for piece in llm.stream_chat(asked, **wanted)] == [answer]
    with pytest.raises(InvalidInputError, match="response_format"):
        llm.complete("Who?", response_format="json")


class SlowPolicy(FakePolicy):
    def sample(self, context: Sequence[int], n: int, sampling: SamplingParams) -> list[Sample]:
        time.sleep(0.3)
        return super().sample(context, n, sampling)


@pytest.mark.parametrize("way", WAYS)
async def test_the_event_loop_keeps_ticking(way: str) -> None:
    llm = ICDPOLLM(icdpo=ICDPO(SlowPolicy([KIND]), FixedDemonstrations(DEMONSTRATIONS), n=1))
    answering = asyncio.create_task(answer(llm, way, sync=False))
    longest, began = 0.0, time.perf_counter()
    while not answering.done():
        await asyncio.sleep(0.005)
        now = time.perf_counter()
        longest, began = max(longest, now - began), now
    await answering
    assert longest < 0.25, "a call of 0.3 seconds would have stopped it"


def test_nothing_is_retained_over_many_calls(llm: ICDPOLLM) -> None:
    import torch

    def objects() -> int:
        gc.collect()
        return sum(issubclass(type(item), torch.Tensor) for item in gc.get_objects())

    llm.complete(QUESTION)
    before = objects()
    responses = [llm.chat(MESSAGES) for _ in range(30)]
    assert objects() == before, "a response holds numbers only"
    del responses
    gc.collect()
    tracemalloc.start()
    try:
        llm.chat(MESSAGES)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        for _ in range(30):
            llm.chat(MESSAGES)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - held < 30_000, "nor does anything else grow"
    finally:
        tracemalloc.stop()


def test_it_is_an_llm_and_its_settings_survive_serialization(core: ICDPO) -> None:
    assert BaseLLM in ICDPOLLM.__mro__
    llm = ICDPOLLM(model="some/model", n=3, temperature=0.5, stop=["a"], system_prompt="S")
    data = llm.to_dict()
    assert data["class_name"] == "ICDPOLLM"
    assert ICDPOLLM.from_dict(json.loads(json.dumps(data))).to_dict() == data
    assert "icdpo" not in ICDPOLLM(icdpo=core).to_dict()
    assert ICDPOLLM(icdpo=core).metadata.model_name == "fake"
    if hasattr(BaseLLM, "to_payload"):  # of newer versions
        assert ICDPOLLM(icdpo=core).to_payload()["model_name"] == "fake"


@pytest.mark.parametrize("settings", [{"n": 0}, {"n": True}, {"top_p": 2}, {"unheard_of": 1}], ids=str)
def test_a_wrong_setting_is_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, TypeError)):
        ICDPOLLM(**settings)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
async def test_bad_input_is_a_clear_error_and_ends_its_event(way: str, sync: bool) -> None:
    llm = ICDPOLLM(icdpo=make_core(policy_context=400), max_tokens=100)
    debug = LlamaDebugHandler(print_trace_on_end=False)
    llm.callback_manager = CallbackManager([debug])
    for asked, error in (("", InvalidInputError), ("x" * 500, ContextOverflowError)):
        with pytest.raises(error):
            await answer(llm, way, sync=sync, question=asked)
    assert [len(pair) for pair in debug.get_event_pairs(CBEventType.LLM)] == [2, 2]


def test_building_one_loads_nothing() -> None:
    code = (
        "import sys; from llama_index_icdpo import ICDPOLLM; ICDPOLLM(model='some/model', n=3)\n"
        "print(sorted({'torch', 'transformers', 'chromadb', 'langchain_core'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_a_file_of_settings_builds_the_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `icdpo tune` writes, as `ICDPOLLM(config=...)` reads it."""
    file = tmp_path / "tuned.json"
    ICDPOConfig(n=3, against="base", aggregate="sum").write(file)
    monkeypatch.setattr(defaults, "_latest", None)
    monkeypatch.setattr(ICDPO, "from_config", lambda config, store: make_core(n=config.n))
    llm = ICDPOLLM(config=str(file))
    assert len(llm.complete("Hello?").additional_kwargs["icdpo"]["candidates"]) == 3
    assert len(llm.complete("Hello?", n=2).additional_kwargs["icdpo"]["candidates"]) == 2


@pytest.mark.parametrize("decoding", ["sample", "guided"])
@pytest.mark.parametrize("way", ["stream_chat", "stream_complete"])
async def test_one_candidate_streams_as_it_is_sampled(way: str, decoding: str) -> None:
    llm = ICDPOLLM(icdpo=make_core(()), n=1, seed=4, max_tokens=48, decoding=decoding)
    asked: Any = [ChatMessage(QUESTION)] if "chat" in way else QUESTION
    whole = llm.chat([ChatMessage(QUESTION)])
    sync = list(getattr(llm, way)(asked))
    for responses in (sync, [each async for each in await getattr(llm, f"a{way}")(asked)]):
        texts = [each.message.content if "chat" in way else each.text for each in responses]
        joined = ""
        for text, each in zip(texts, responses, strict=True):
            joined += each.delta
            assert text == joined
        assert joined == whole.message.content
        assert len(responses) > 3
        assert [each.raw is not None for each in responses] == [False] * (len(responses) - 1) + [True]
        assert responses[-1].raw["candidates"] == whole.raw["candidates"]
