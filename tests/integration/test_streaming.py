"""A real model streams one guided answer through each way in, in more than three pieces."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage

from icdpo_chains import ICDPO, SamplingParams, TransformersPolicy
from icdpo_chains.policies.sampling import SampleRequest
from langchain_icdpo import ChatICDPO
from llama_index_icdpo import ICDPOLLM

QUESTION = "I had a fight with my sister. What now?"
HOW: dict[str, Any] = {"n": 1, "max_tokens": 48, "seed": 1, "decoding": "guided"}


@pytest.fixture(scope="module")
def core(policy: TransformersPolicy, starter_store: Path) -> ICDPO:
    return ICDPO.from_defaults(policy, store=starter_store)


@pytest.fixture(scope="module")
def answer(core: ICDPO) -> str:
    sampling = SamplingParams(max_new_tokens=48, seed=1, decoding="guided")
    return core.generate(QUESTION, n=1, sampling=sampling).text


def langchain(core: ICDPO) -> list[str]:
    chunks = list(ChatICDPO(icdpo=core, **HOW).stream(QUESTION))
    assert sum("icdpo" in chunk.response_metadata for chunk in chunks) == 1
    return [chunk.text for chunk in chunks]


def llama_index(core: ICDPO) -> list[str]:
    responses = list(ICDPOLLM(icdpo=core, **HOW).stream_chat([ChatMessage(QUESTION)]))
    assert [response.raw is not None for response in responses[-2:]] == [False, True]
    return [response.delta or "" for response in responses]


@pytest.mark.parametrize("way", [langchain, llama_index])
def test_a_guided_answer_comes_in_pieces(core: ICDPO, answer: str, way: Callable[[ICDPO], list[str]]) -> None:
    pieces = [piece for piece in way(core) if piece]
    assert "".join(pieces) == answer
    assert len(pieces) > 3


async def test_langchain_s_events_have_the_pieces(core: ICDPO, answer: str) -> None:
    events = ChatICDPO(icdpo=core, **HOW).astream_events(QUESTION, version="v2")
    texts = [e["data"]["chunk"].text async for e in events if e["event"] == "on_chat_model_stream"]
    assert "".join(texts) == answer
    assert len([text for text in texts if text]) > 3


def test_guided_decoding_follows_the_chosen_answers(core: ICDPO) -> None:
    """The score of a guided answer is above that of a sampled one, since it is made of the same ratio."""
    plain = SamplingParams(max_new_tokens=24, temperature=0, seed=1)
    guided = replace(plain, decoding="guided")
    scores = [core.generate(QUESTION, n=1, sampling=how).best.score for how in (plain, guided)]
    assert scores[1] > scores[0]


def test_guided_decoding_agrees_with_the_scores_of_a_second_pass(policy: TransformersPolicy) -> None:
    context, contrast = (policy.tokenizer(text).input_ids for text in ("Be kind. I am", "Be rude. I am"))
    sampling = SamplingParams(max_new_tokens=24, seed=2, decoding="guided")
    (samples,) = policy.sample_batch([SampleRequest(context, 2, sampling, contrast=contrast)])
    for sample in samples:
        for side, recorded in ((context, sample.logprobs), (contrast, sample.contrast_logprobs)):
            (expected,) = policy.logprobs(side, [sample.token_ids])
            assert recorded == pytest.approx(expected, abs=1e-3)
