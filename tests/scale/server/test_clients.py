"""The clients that people have, unchanged: OpenAI's own, LangChain's and LlamaIndex's."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

from tests.unit.fake_core import KIND

KEY = "sekret"
QUESTION: list[Any] = [{"role": "user", "content": "My dog is ill: tag7"}]
ANSWER = f"{KIND} tag7"


@pytest.fixture
def server(start: Any) -> Any:
    return start("--key", KEY)


@pytest.fixture
def client(server: Any) -> Any:
    with openai.OpenAI(base_url=server.url, api_key=KEY) as client:
        yield client


def test_openai(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model="fake", messages=QUESTION, n=2, seed=3, extra_body={"icdpo": {"n": 4, "k": 1}}
    )
    assert completion.choices[0].message.content == ANSWER
    assert len(completion.choices) == 2
    assert completion.usage is not None
    assert completion.usage.total_tokens > completion.usage.completion_tokens > 0
    report: Any = completion.icdpo  # type: ignore[attr-defined]
    assert len(report["candidates"]) == 4
    assert report["seed"] == 3
    assert client.completions.create(model="fake", prompt="Help: tag7").choices[0].text == ANSWER
    assert [model.id for model in client.models.list()] == ["fake"]
    assert client.models.retrieve("fake").id == "fake"


def test_openai_streamed(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="fake", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == ANSWER
    assert chunks[-1].usage is not None
    pieces = client.completions.create(model="fake", prompt="Help: tag7", stream=True)
    assert "".join(chunk.choices[0].text for chunk in pieces) == ANSWER
    with client.chat.completions.stream(model="fake", messages=QUESTION) as events:
        assert events.get_final_completion().choices[0].message.content == ANSWER


def test_openai_streams_one_guided_candidate_of_the_default_model(start: Any, tmp_path: Path) -> None:
    icdpo, store = Path(sys.executable).with_name("icdpo"), tmp_path / "store"
    starter = "icdpo_chains/demonstrations/starter.jsonl"
    subprocess.run([icdpo, "import", starter, "--store", store], check=True)
    command = [str(icdpo), "serve", "--port", "0", "--store", str(store)]
    server = start(command=[*command, "--n", "1", "--decoding", "guided"])
    with openai.OpenAI(base_url=server.url, api_key="none") as client:
        how: dict[str, Any] = {"model": client.models.list().data[0].id, "messages": QUESTION}
        how |= {"max_tokens": 48, "seed": 1}
        whole = client.chat.completions.create(**how).choices[0].message.content
        chunks = list(client.chat.completions.create(**how, stream=True))
    texts = [chunk.choices[0].delta.content for chunk in chunks]
    assert "".join(text or "" for text in texts) == whole
    assert len([text for text in texts if text]) > 3
    assert [i for i, chunk in enumerate(chunks) if hasattr(chunk, "icdpo")] == [len(chunks) - 1]


async def test_openai_async(server: Any) -> None:
    async with openai.AsyncOpenAI(base_url=server.url, api_key=KEY) as client:

        async def ask(i: int) -> str | None:
            messages: list[Any] = [{"role": "user", "content": f"Help: tag{i}"}]
            completion = await client.chat.completions.create(model="fake", messages=messages)
            return completion.choices[0].message.content

        assert await asyncio.gather(*map(ask, range(50))) == [f"{KIND} tag{i}" for i in range(50)]
        stream = await client.chat.completions.create(model="fake", messages=QUESTION, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == ANSWER


def test_openai_raises_its_own_errors(client: openai.OpenAI, server: Any) -> None:
    ask = client.chat.completions.create
    with pytest.raises(openai.NotFoundError, match="called 'fake'"):
        ask(model="gpt", messages=QUESTION)
    with pytest.raises(openai.BadRequestError, match="blank") as caught:
        ask(model="fake", messages=[{"role": "user", "content": " "}])
    assert caught.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError, match="not supported") as caught:
        ask(model="fake", messages=QUESTION, tools=[{"type": "function", "function": {"name": "f"}}])
    assert caught.value.param == "tools"
    with (
        openai.OpenAI(base_url=server.url, api_key="wrong") as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()


def test_langchain(server: Any) -> None:
    model = ChatOpenAI(model="fake", base_url=server.url, api_key=KEY, max_tokens=100, seed=1)  # type: ignore[arg-type, call-arg]
    prompt = [SystemMessage("Be kind."), HumanMessage("My dog is ill: tag7")]
    answer = model.invoke(prompt)
    assert answer.content == ANSWER
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] > 0
    assert "".join(str(chunk.content) for chunk in model.stream(prompt)) == ANSWER
    assert [answer.content for answer in model.batch(["a: tag1", "b: tag2"])] == [
        f"{KIND} tag1",
        f"{KIND} tag2",
    ]


async def test_llama_index(server: Any) -> None:
    model = OpenAILike(model="fake", api_base=server.url, api_key=KEY, is_chat_model=True, max_tokens=100)
    messages = [ChatMessage(role="user", content="My dog is ill: tag7")]
    assert model.chat(messages).message.content == ANSWER
    assert [chunk.message.content for chunk in model.stream_chat(messages)][-1] == ANSWER
    assert (await model.achat(messages)).message.content == ANSWER
    plain = OpenAILike(model="fake", api_base=server.url, api_key=KEY, is_chat_model=False, max_tokens=100)
    assert plain.complete("Help: tag7").text == ANSWER
    assert [chunk.text for chunk in plain.stream_complete("Help: tag7")][-1] == ANSWER
