"""`create_icdpo_tool` in LlamaIndex's agents."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.agent.workflow import AgentWorkflow, ReActAgent
from llama_index.core.base.llms.types import CompletionResponse, CompletionResponseGen, LLMMetadata
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.tools import FunctionTool, QueryEngineTool

from icdpo_chains import ICDPO
from icdpo_chains.errors import InvalidInputError
from llama_index_icdpo import ICDPOLLM, ICDPOSynthesizer, create_icdpo_tool

from ..fake_core import KIND, RUDE, make_core


class Scripted(CustomLLM):
    """Reasons as it is told."""

    script: list[str]

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=self.script.pop(0))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        text = self.script.pop(0)

        def stream() -> CompletionResponseGen:
            yield CompletionResponse(text=text, delta=text)

        return stream()


SCRIPT = [
    'Thought: I need a kind answer.\nAction: aligned_answer\nAction Input: {"question": "I lost my keys."}',
    "Thought: I can answer.\nAnswer: Done.",
]


async def test_the_output_is_the_answer_with_all_candidates(core: ICDPO) -> None:
    tool = create_icdpo_tool(icdpo=core)
    assert isinstance(tool, FunctionTool)
    assert tool.metadata.name == "aligned_answer"
    for output in (tool.call(question="I lost my keys."), await tool.acall(question="I lost my keys.")):
        assert output.content == KIND
        assert [candidate.text for candidate in output.raw_output.candidates] == [KIND, RUDE]


@pytest.mark.parametrize("way", ["alone", "in a workflow"])
async def test_a_react_agent_uses_it(core: ICDPO, way: str) -> None:
    agent = ReActAgent(
        name="helper",
        description="Helps.",
        tools=[create_icdpo_tool(icdpo=core)],
        llm=Scripted(script=[*SCRIPT]),
    )
    runner = agent if way == "alone" else AgentWorkflow(agents=[agent], root_agent="helper")
    response = await runner.run("I lost my keys.")
    assert str(response) == "Done."
    assert [call.tool_output.content for call in response.tool_calls] == [KIND]


async def test_the_local_model_may_reason_itself(core: ICDPO) -> None:
    script = iter([[SCRIPT[0]], [SCRIPT[1]]])
    llm = ICDPOLLM(icdpo=make_core(lambda context: next(script)), n=1)
    response = await ReActAgent(tools=[create_icdpo_tool(icdpo=core)], llm=llm).run("I lost my keys.")
    assert str(response) == "Done."


def test_settings(core: ICDPO) -> None:
    tool = create_icdpo_tool(ICDPOLLM(icdpo=core, n=3), name="ask", description="Asks.")
    assert (tool.metadata.name, tool.metadata.description.split("\n")[-1]) == ("ask", "Asks.")
    assert len(tool.call("?").raw_output.candidates) == 3
    with pytest.raises(ValueError, match="n and llm are both given"):
        create_icdpo_tool(ICDPOLLM(icdpo=core), n=3)
    with pytest.raises(InvalidInputError, match="blank"):
        tool.call(" ")


def test_a_query_engine_as_a_tool(core: ICDPO) -> None:
    llm = ICDPOLLM(icdpo=core)
    index = VectorStoreIndex.from_documents([Document(text="Keys lie here.")])
    engine = index.as_query_engine(llm=llm, response_synthesizer=ICDPOSynthesizer(llm))
    output = QueryEngineTool.from_defaults(engine, name="library", description="Knows.").call("My keys?")
    assert output.content == KIND
    assert output.raw_output.metadata["icdpo"]["selected"] == 1
