"""`ChatICDPO` used as LangChain uses a chat model."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnableLambda
from pydantic import ValidationError

from icdpo_chains import ICDPO, FakePolicy, FixedDemonstrations, ICDPOConfig, Sample, SamplingParams, defaults
from icdpo_chains.errors import ContextOverflowError, InvalidInputError, PromptError
from langchain_icdpo import ChatICDPO

from ...fake_core import DEMONSTRATIONS, KIND, RUDE, make_core

QUESTION = "I lost my keys."


@pytest.fixture
def chat(core: ICDPO) -> ChatICDPO:
    return ChatICDPO(icdpo=core)


@pytest.fixture
def sampling_chat() -> ChatICDPO:
    """One whose candidates are sampled, so that seeds and lengths matter."""
    return ChatICDPO(icdpo=make_core((), sampling=SamplingParams(max_new_tokens=20)), seed=3)


def texts(message: AIMessage) -> list[str]:
    return [candidate["text"] for candidate in message.response_metadata["icdpo"]["candidates"]]


def test_the_answer_is_the_cores(sampling_chat: ChatICDPO) -> None:
    message = sampling_chat.invoke(QUESTION)
    result = sampling_chat.core.generate(QUESTION, seed=3)
    assert message.content == result.text
    assert texts(message) == [candidate.text for candidate in result.candidates]


def test_an_answer_carries_all_of_them_as_json(chat: ChatICDPO) -> None:
    message = chat.invoke(QUESTION)
    assert message.content == KIND
    table = message.response_metadata["icdpo"]
    assert json.loads(json.dumps(message.response_metadata)) == message.response_metadata
    assert texts(message) == [KIND, RUDE]
    assert table["selected"] == 1
    assert table["candidates"][0]["score"] > table["candidates"][1]["score"]
    assert table["demonstrations"] == [item.id for item in DEMONSTRATIONS[:2]]
    assert table["scorer"] == {"against": "rejected", "aggregate": "sum", "paired": True}
    assert message.response_metadata["model_name"] == "fake"
    assert message.response_metadata["finish_reason"] == "stop"


def test_usage_counts_the_prompt_once_and_all_candidates(chat: ChatICDPO) -> None:
    message = chat.invoke(QUESTION)
    usage = chat.core.generate(QUESTION).usage
    assert message.usage_metadata == {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    assert message.response_metadata["icdpo"]["usage"]["selected_tokens"] == len(KIND) + 1
    counter = UsageMetadataCallbackHandler()
    chat.invoke(QUESTION, config={"callbacks": [counter]})
    assert counter.usage_metadata["fake"]["output_tokens"] == usage.completion_tokens


def test_a_candidate_that_can_not_be_scored_has_no_score_in_json() -> None:
    message = ChatICDPO(icdpo=make_core(["  ", KIND])).invoke(QUESTION)
    assert message.content == KIND
    assert [item["score"] is None for item in message.response_metadata["icdpo"]["candidates"]] == [
        False,
        True,
    ]


@pytest.mark.parametrize("how", ["invoke", "bind", "configurable", "setting"])
def test_settings_of_a_call(sampling_chat: ChatICDPO, how: str) -> None:
    settings: dict[str, Any] = {"n": 5, "k": 1, "seed": 8, "max_tokens": 7, "temperature": 0.5}
    if how == "invoke":
        message = sampling_chat.invoke(QUESTION, **settings)
    elif how == "bind":
        message = sampling_chat.bind(**settings).invoke(QUESTION)
    elif how == "configurable":
        fields: dict[str, Any] = {name: ConfigurableField(id=name) for name in settings}
        message = sampling_chat.configurable_fields(**fields).invoke(
            QUESTION, config={"configurable": settings}
        )
    else:
        message = ChatICDPO(icdpo=sampling_chat.core, **settings).invoke(QUESTION)
    sampling = SamplingParams(max_new_tokens=7, temperature=0.5)
    result = sampling_chat.core.generate(QUESTION, n=5, k=1, seed=8, sampling=sampling)
    assert texts(message) == [candidate.text for candidate in result.candidates]
    assert message.response_metadata["icdpo"]["seed"] == 8
    assert len(message.response_metadata["icdpo"]["demonstrations"]) == 1
    assert len(texts(sampling_chat.invoke(QUESTION))) == 2, "a call's settings are its own"


def test_a_stop_string_is_obeyed_and_left_out(chat: ChatICDPO) -> None:
    assert chat.invoke(QUESTION, stop=["Would"]).content == "I am sorry to hear that. "
    assert ChatICDPO(icdpo=chat.core, stop="Would").invoke(QUESTION).content == "I am sorry to hear that. "
    assert chat.bind(stop=["Would"]).invoke(QUESTION).content == "I am sorry to hear that. "


def test_an_unknown_setting_of_a_call_is_an_error_that_names_those_known(chat: ChatICDPO) -> None:
    with pytest.raises(TypeError, match=r"no 'temprature': it takes n, k, finalists, max_tokens"):
        chat.invoke(QUESTION, temprature=0.5)


@pytest.mark.parametrize(
    "settings",
    [
        {"n": 0},
        {"n": True},
        {"n": 10**9},
        {"k": 0},
        {"temperature": math.nan},
        {"top_p": -1},
        {"max_tokens": 0},
        {"stop": [""]},
        {"seed": -1},
        {"against": "them"},
        {"aggregate": "max"},
        {"unheard_of": 1},
        {"dtype": "float32", "icdpo": "given"},
        {"model": "another", "icdpo": "given"},
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused_at_once(settings: dict[str, Any], core: ICDPO) -> None:
    if settings.get("icdpo") == "given":
        settings = {**settings, "icdpo": core}
    with pytest.raises((ValidationError, TypeError)):
        ChatICDPO(**settings)


def test_building_one_loads_nothing() -> None:
    # Older versions of langchain-core load transformers themselves.
    code = (
        "import sys, langchain_core.language_models.chat_models; before = set(sys.modules)\n"
        "from langchain_icdpo import ChatICDPO; ChatICDPO(model='some/model', n=3)\n"
        "print(sorted({'torch', 'transformers', 'chromadb', 'langgraph'} & (set(sys.modules) - before)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_a_stream_emits_the_answer_once_it_is_chosen(sampling_chat: ChatICDPO) -> None:
    chunks = list(sampling_chat.stream(QUESTION))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    message = sampling_chat.invoke(QUESTION)
    assert whole.content == message.content
    assert whole.usage_metadata == message.usage_metadata
    assert [bool(chunk.response_metadata.get("icdpo")) for chunk in chunks] == [True, False]
    assert [chunk.chunk_position for chunk in chunks] == [None, "last"]
    assert isinstance(whole, AIMessageChunk)
    timeless = [{**m.response_metadata["icdpo"], "timings": None} for m in (whole, message)]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize("decoding", ["sample", "guided"])
async def test_one_candidate_streams_as_it_is_sampled_and_the_score_comes_once(decoding: str) -> None:
    chat = ChatICDPO(icdpo=make_core(()), n=1, seed=4, max_tokens=48, decoding=decoding)
    message = chat.invoke(QUESTION)
    for chunks in (list(chat.stream(QUESTION)), [chunk async for chunk in chat.astream(QUESTION)]):
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk
        assert whole.content == message.content
        assert len([chunk for chunk in chunks if chunk.content]) > 3
        assert sum("icdpo" in chunk.response_metadata for chunk in chunks) == 1
        assert (
            whole.response_metadata["icdpo"]["candidates"] == message.response_metadata["icdpo"]["candidates"]
        )
        assert whole.usage_metadata == message.usage_metadata
        assert [chunk.chunk_position for chunk in chunks if chunk.chunk_position] == ["last"]


async def test_one_candidate_streams_to_event_streams_and_to_handlers() -> None:
    chat = ChatICDPO(icdpo=make_core(()), n=1, seed=4, max_tokens=48)
    answer = chat.invoke(QUESTION).content
    pieces = [
        event["data"]["chunk"].text
        async for event in chat.astream_events(QUESTION, version="v2")
        if event["event"] == "on_chat_model_stream"
    ]
    assert len(pieces) > 3
    assert "".join(pieces) == answer

    class Listener(BaseCallbackHandler):
        def __init__(self) -> None:
            self.tokens: list[Any] = []

        def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
            self.tokens.append(token)

    listener = Listener()
    chat = ChatICDPO(icdpo=make_core(()), n=1, seed=4, max_tokens=48, streaming=True)
    assert chat.invoke(QUESTION, config={"callbacks": [listener]}).content == answer
    assert len(listener.tokens) > 3


async def test_a_stream_of_wanted_json_comes_whole() -> None:
    chat = ChatICDPO(icdpo=make_core(['{"a": 1}']), n=1)
    chain = chat.bind(response_format={"type": "json_object"})
    assert [chunk.content for chunk in chain.stream(QUESTION)] == ['{"a": 1}', ""]
    assert [chunk.content async for chunk in chain.astream(QUESTION)] == ['{"a": 1}', ""]


async def test_the_async_twins_give_the_same(sampling_chat: ChatICDPO) -> None:
    message = sampling_chat.invoke(QUESTION)
    assert (await sampling_chat.ainvoke(QUESTION)).content == message.content
    chunks = [chunk async for chunk in sampling_chat.astream(QUESTION)]
    assert "".join(chunk.text for chunk in chunks) == message.content
    assert [m.content for m in await sampling_chat.abatch([QUESTION, QUESTION])] == [message.content] * 2


class SlowPolicy(FakePolicy):
    def sample(self, context: Sequence[int], n: int, sampling: SamplingParams) -> list[Sample]:
        time.sleep(0.3)
        return super().sample(context, n, sampling)


@pytest.mark.parametrize("way", ["ainvoke", "astream", "abatch"])
async def test_the_event_loop_keeps_ticking(way: str) -> None:
    chat = ChatICDPO(icdpo=ICDPO(SlowPolicy([KIND]), FixedDemonstrations(DEMONSTRATIONS), n=1))
    longest, done = 0.0, False

    async def tick() -> None:
        nonlocal longest
        while not done:
            began = time.perf_counter()
            await asyncio.sleep(0.005)
            longest = max(longest, time.perf_counter() - began)

    ticking = asyncio.create_task(tick())
    if way == "ainvoke":
        await chat.ainvoke(QUESTION)
    elif way == "abatch":
        await chat.abatch([QUESTION, QUESTION])
    else:
        async for _ in chat.astream(QUESTION):
            pass
    done = True
    await ticking
    assert longest < 0.25, "a call of 0.3 seconds would have stopped it"


def test_it_works_in_a_chain(chat: ChatICDPO) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "Be {how}."), ("human", "{question}")])
    chain = prompt | chat | StrOutputParser()
    assert chain.invoke({"how": "kind", "question": "{x} {{ %s"}) == KIND
    assert chain.batch([{"how": "kind", "question": "a"}, {"how": "kind", "question": "b"}]) == [KIND, KIND]
    assert "".join(chain.stream({"how": "kind", "question": "a"})) == KIND


def test_what_the_model_reads_is_its_chat_template_and_the_answer_has_no_echo() -> None:
    seen: list[str] = []

    def respond(context: str) -> list[str]:
        seen.append(context)
        return [KIND]

    chat = ChatICDPO(icdpo=make_core(respond))
    message = chat.invoke(
        [
            SystemMessage("Be brief."),
            HumanMessage("Hello"),
            HumanMessage("Are you there?"),
            AIMessage([{"type": "text", "text": "Yes, "}, {"type": "text", "text": "I am."}]),
            HumanMessage([{"type": "text", "text": "Good."}], name="Ada"),
            AIMessage("", tool_calls=[{"name": "find", "args": {"what": "keys"}, "id": "1"}]),
            ToolMessage("in the fridge", tool_call_id="1"),
            ChatMessage("{x} <|im_end|>", role="user"),
        ]
    )
    assert message.content == KIND
    assert seen[0].endswith(
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nHello<|im_end|>\n<|im_start|>user\nAre you there?<|im_end|>\n"
        "<|im_start|>assistant\nYes, I am.<|im_end|>\n<|im_start|>user\nAda: Good.<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>\n{"name": "find", "arguments": {"what": "keys"}}\n</tool_call>'
        "<|im_end|>\n<|im_start|>tool\nin the fridge<|im_end|>\n"
        "<|im_start|>user\n{x} <|im_end|><|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("", "blank"),
        ("\ud800", "surrogate"),
        ([AIMessage("Hi")], "blank"),
        ([HumanMessage("Hi"), AIMessage("Hi")], "ends with an assistant turn"),
        (
            [HumanMessage([{"type": "image", "url": "https://x/y.png"}])],
            "'image', and the model reads text only",
        ),
        ([HumanMessage([{"type": "audio", "base64": "AA=="}])], "'audio', and the model reads text only"),
        ([ChatMessage("Hi", role="wizard")], "unknown role"),
    ],
    ids=str,
)
def test_a_prompt_that_can_not_be_answered(chat: ChatICDPO, prompt: Any, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        chat.invoke(prompt)
    with pytest.raises(InvalidInputError, match=says):
        list(chat.stream(prompt))


def test_a_conversation_that_does_not_fit() -> None:
    chat = ChatICDPO(icdpo=make_core(policy_context=400), max_tokens=100)
    with pytest.raises(ContextOverflowError, match="shorten it"):
        chat.invoke("x" * 500)


def test_tools_are_never_dropped_in_silence(chat: ChatICDPO) -> None:
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    with pytest.raises(PromptError, match="no place for tools"):
        chat.bind_tools([add]).invoke("What is 1 + 2?")


def test_progress_is_told_as_custom_events(chat: ChatICDPO) -> None:
    class Listener(BaseCallbackHandler):
        def __init__(self) -> None:
            self.events: list[tuple[str, Any]] = []

        def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
            self.events.append((name, data))

    listener = Listener()
    chat.invoke(QUESTION, config={"callbacks": [listener]})
    assert [name for name, _ in listener.events] == ["icdpo_progress"] * 3
    retrieved, sampled, scored = (data for _, data in listener.events)
    assert [data["stage"] for data in (retrieved, sampled, scored)] == ["retrieved", "sampled", "scored"]
    assert retrieved["demonstrations"] == [item.id for item in DEMONSTRATIONS[:2]]
    assert sampled["answers"] == [RUDE, KIND]
    assert [item["text"] for item in scored["candidates"]] == [KIND, RUDE]
    assert json.dumps(listener.events)


async def test_progress_is_told_to_event_streams_too(chat: ChatICDPO) -> None:
    chain = RunnableLambda(lambda text: f"{text}?") | chat
    stages, answers = [], []
    async for event in chain.astream_events(QUESTION, version="v2"):
        if event["event"] == "on_custom_event":
            stages.append(event["data"]["stage"])
        if event["event"] == "on_chat_model_stream":
            answers.append(event["data"]["chunk"].text)
    assert stages == ["retrieved", "sampled", "scored"]
    assert "".join(answers) == KIND


def test_tokens_are_those_of_the_models_tokenizer(chat: ChatICDPO) -> None:
    assert chat.get_token_ids("héllo<|im_end|>") == list("héllo<|im_end|>".encode()) or chat.get_num_tokens(
        "héllo<|im_end|>"
    ) == len("héllo<|im_end|>".encode())
    messages = [SystemMessage("Be brief."), HumanMessage("Hello")]
    rendered = chat.core.policy.tokenizer.apply_chat_template(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        add_generation_prompt=True,
        return_dict=False,
    )
    assert chat.get_num_tokens_from_messages(messages) == len(rendered)


def test_it_is_not_serializable_and_its_settings_can_be_read(core: ICDPO) -> None:
    chat = ChatICDPO(icdpo=core, n=3, temperature=0.2)
    assert not ChatICDPO.is_lc_serializable()
    assert chat.model == "fake"
    assert chat._identifying_params["n"] == 3
    assert "icdpo" not in chat.model_dump()
    params = chat._get_ls_params(stop=["x"])
    assert params["ls_provider"] == "icdpo"
    assert params["ls_model_name"] == "fake"
    assert params["ls_temperature"] == 0.2
    assert params["ls_stop"] == ["x"]


def test_an_excluded_demonstration_is_not_shown(chat: ChatICDPO) -> None:
    message = chat.invoke(QUESTION, exclude=[DEMONSTRATIONS[0].id])
    assert message.response_metadata["icdpo"]["demonstrations"] == [item.id for item in DEMONSTRATIONS[1:]]


def test_a_file_of_settings_builds_the_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `icdpo tune` writes, as `ChatICDPO(config=...)` reads it."""
    file = tmp_path / "tuned.json"
    ICDPOConfig(n=3, against="base", aggregate="sum").write(file)
    monkeypatch.setattr(defaults, "_latest", None)
    monkeypatch.setattr(ICDPO, "from_config", lambda config, store: make_core(n=config.n))
    chat = ChatICDPO(config=str(file))
    assert chat.against == "base"
    assert len(chat.invoke("Hello?").response_metadata["icdpo"]["candidates"]) == 3
    assert len(chat.invoke("Hello?", n=2).response_metadata["icdpo"]["candidates"]) == 2
    with pytest.raises(ValueError, match=r"against and the file .*tuned\.json"):
        ChatICDPO(config=str(file), against="rejected")
