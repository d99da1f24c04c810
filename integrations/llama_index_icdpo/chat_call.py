"""`ChatCall`: one call of `ICDPOLLM.chat`, with or without tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ContentBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
)

from icdpo_chains.icdpo import ICDPO
from icdpo_chains.messages import Message
from icdpo_chains.prompts.formats import with_tools
from icdpo_chains.result import ICDPOResult
from icdpo_chains.streaming import AnswerChunk
from icdpo_chains.tool_calls.tool_choice import ToolChoice
from llama_index_icdpo.tool_calling import call_blocks

__all__ = ["ChatCall"]


@dataclass(frozen=True)
class ChatCall:
    """One call.

    Attributes:
        core: samples and scores the answers.
        conversation: the question.
        options: the options of `ICDPO.generate`.
        choice: the tools, if there are any.
    """

    core: ICDPO
    conversation: tuple[Message, ...]
    options: dict[str, Any]
    choice: ToolChoice | None = None

    @classmethod
    def of(
        cls,
        core: ICDPO,
        conversation: tuple[Message, ...],
        options: dict[str, Any],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        tool_choice: str = "auto",
        allow_parallel_tool_calls: bool = True,
    ) -> ChatCall:
        """Builds a call.

        Args:
            core: the ICDPO of the model.
            conversation: the question.
            options: the options of `ICDPO.generate`.
            tools: the tools in OpenAI's form.
            tool_choice: `"auto"`, `"any"`, `"none"` or the name of a tool.
            allow_parallel_tool_calls: allow several calls in one answer.

        Raises:
            PromptError: the model's prompt format can't show tools.
        """
        if not tools or tool_choice == "none":
            return cls(core, conversation, options)
        choice = ToolChoice(tools, tool_choice, parallel=allow_parallel_tool_calls)
        if choice.instruction is not None:
            conversation = (Message("system", choice.instruction), *conversation)
        return cls(core.with_format(with_tools(core.format, tools)), conversation, options, choice)

    def response(self, result: ICDPOResult, delta: str | None = None) -> ChatResponse:
        """Returns the response: the best candidate, or the best candidate that makes a required call."""
        best, text, calls = result.best, result.text, []
        if self.choice is not None:
            best = result.best_fitting(self.choice.fitting)
            read = self.choice.read(best.text)
            text, calls = read.content, call_blocks(read)
            delta = delta and text
        blocks: list[ContentBlock] = [] if calls and not text else [TextBlock(text=text)]
        if best.reasoning is not None:
            blocks.insert(0, ThinkingBlock(content=best.reasoning))
        return ChatResponse(
            message=ChatMessage(role=MessageRole.ASSISTANT, blocks=[*blocks, *calls]),
            raw=result.to_dict(),
            delta=delta,
            additional_kwargs={"icdpo": result.score_table()},
        )

    def chunk(self, text: str, chunk: AnswerChunk) -> ChatResponse | None:
        """Returns the response of a chunk; with tools, only of the last: until then a text may be a call.

        Args:
            text: the text of all chunks so far.
            chunk: the chunk.
        """
        if chunk.result is not None:
            return self.response(chunk.result, chunk.text)
        if self.choice is not None:
            return None
        return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=text), delta=chunk.text)
