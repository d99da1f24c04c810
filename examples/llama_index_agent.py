"""An agent with LlamaIndex: a ReActAgent whose tool answers by ICDPO.

The agent's reasoning is scripted here, so that the example runs anywhere; put any LLM in its place. The tool
is real: the default local model samples and scores.
"""

import asyncio
from typing import Any

from llama_index.core.agent.workflow import ReActAgent
from llama_index.core.base.llms.types import CompletionResponse, CompletionResponseGen, LLMMetadata
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_completion_callback

from llama_index_icdpo import create_icdpo_tool

QUESTION = "How do I tell a friend that I can't come to her party?"


class ScriptedLLM(CustomLLM):
    """Says what stands in its script."""

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
        return (CompletionResponse(text=text, delta=text) for _ in range(1))


async def main() -> None:
    reasoning = [
        f'Thought: This is delicate.\nAction: aligned_answer\nAction Input: {{"question": "{QUESTION}"}}',
        "Thought: I can answer without using any more tools.\nAnswer: See what my tool says.",
    ]
    tool = create_icdpo_tool(n=4, max_tokens=50, seed=1)
    response = await ReActAgent(tools=[tool], llm=ScriptedLLM(script=reasoning)).run(QUESTION)
    for call in response.tool_calls:
        print(f"{call.tool_name}: {call.tool_output.content}")
        for candidate in call.tool_output.raw_output.candidates:
            print(f"{candidate.score:+.3f}  {candidate.text[:80]!r}")
    print("agent:", response)


asyncio.run(main())
