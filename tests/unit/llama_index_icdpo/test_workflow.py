"""`ICDPOWorkflow`: the same result, in steps."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.workflow import Context, Workflow, step

from icdpo_chains import ICDPO, SamplingParams
from icdpo_chains.errors import InvalidInputError, NoCandidateError
from llama_index_icdpo import ICDPOLLM, ICDPOWorkflow, Retrieved, Sampled, Scored

from ..fake_core import DEMONSTRATIONS, KIND, RUDE, make_core

QUESTION = "I lost my keys."


@pytest.fixture
def core() -> ICDPO:
    return make_core((), sampling=SamplingParams(max_new_tokens=20))


@pytest.mark.parametrize("asked", [QUESTION, [ChatMessage(QUESTION)]], ids=["text", "messages"])
async def test_the_result_is_the_cores(core: ICDPO, asked: Any) -> None:
    result = await ICDPOWorkflow(ICDPOLLM(icdpo=core, temperature=0.5)).run(input=asked, n=3, k=1, seed=7)
    expected = core.generate(
        QUESTION, n=3, k=1, sampling=SamplingParams(max_new_tokens=20, temperature=0.5, seed=7)
    )
    assert {**result.to_dict(), "timings": None} == {**expected.to_dict(), "timings": None}


async def test_each_step_is_streamed() -> None:
    handler = ICDPOWorkflow(ICDPOLLM(icdpo=make_core())).run(input=QUESTION)
    events = [event async for event in handler.stream_events()]
    assert [type(event).__name__ for event in events] == ["Retrieved", "Sampled", "Scored", "StopEvent"]
    retrieved, sampled, scored = events[:3]
    assert [found.demonstration for found in retrieved.demonstrations] == DEMONSTRATIONS[:2]
    assert [answer.text for answer in sampled.draft.answers] == [RUDE, KIND]
    assert scored.result.text == KIND
    assert (await handler) is scored.result


async def test_a_step_can_be_replaced() -> None:
    class OneDemonstration(ICDPOWorkflow):
        @step
        async def sample(self, ctx: Context, ev: Retrieved) -> Sampled:
            ev.demonstrations = ev.demonstrations[:1]
            return await super().sample(ctx, ev)

    result = await OneDemonstration(ICDPOLLM(icdpo=make_core())).run(input=QUESTION)
    assert len(result.demonstrations) == 1
    assert Workflow in ICDPOWorkflow.__mro__
    assert Scored.__doc__


async def test_bad_input_is_a_clear_error() -> None:
    workflow = ICDPOWorkflow(ICDPOLLM(icdpo=make_core()))
    with pytest.raises(InvalidInputError, match="question is missing"):
        await workflow.run(question=QUESTION)
    with pytest.raises(InvalidInputError, match="blank"):
        await workflow.run(input=" ")
    with pytest.raises(ValueError, match="n is 0"):
        await workflow.run(input=QUESTION, n=0)
    with pytest.raises(NoCandidateError):
        await ICDPOWorkflow(ICDPOLLM(icdpo=make_core([" "]))).run(input=QUESTION)
