"""`ChatCall`: one call of `ICDPOLLM`, with or without tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ContentBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
)

from icdpo_chains.icdpo import ICDPO
from icdpo_chains.messages import Message
from icdpo_chains.prompts.formats import with_tools
from icdpo_chains.result import Candidate, ICDPOResult
from icdpo_chains.streaming import AnswerChunk
from icdpo_chains.tool_calls.json_answer import JsonAnswer
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
        answer: the required form of an answer without a call.
    """

    core: ICDPO
    conversation: tuple[Message, ...]
    options: dict[str, Any]
    choice: ToolChoice | None = None
    answer: JsonAnswer | None = None

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
        response_format: Mapping[str, Any] | None = None,
    ) -> ChatCall:
        """Builds a call.

        Args:
            core: the ICDPO of the model.
            conversation: the question.
            options: the options of `ICDPO.generate`.
            tools: the tools in OpenAI's form.
            tool_choice: `"auto"`, `"any"`, `"none"` or the name of a tool.
            allow_parallel_tool_calls: allow several calls in one answer.
            response_format: OpenAI's, for an answer that is one JSON object.

        Raises:
            InvalidInputError: `response_format` has another form.
            PromptError: the model's prompt format can't show tools.
        """
        answer = None if response_format is None else JsonAnswer.from_response_format(response_format)
        choice = None
        if tools and tool_choice != "none":
            core = core.with_format(with_tools(core.format, tools))

            def is_answer(text: str) -> bool:
                return answer is None or answer.fitting([text])[0]

            choice = ToolChoice(tools, tool_choice, parallel=allow_parallel_tool_calls, is_answer=is_answer)
        for wanted in (choice, answer):
            if wanted is not None and wanted.instruction is not None:
                conversation = (Message("system", wanted.instruction), *conversation)
                break
        return cls(core, conversation, options, choice, answer)

    def response(self, result: ICDPOResult, delta: str | None = None, thought: str = "") -> ChatResponse:
        """Returns the response: the best candidate that has the required form, or else the best of all.

        Args:
            result: the result.
            delta: in a stream, the last text.
            thought: in a stream, the thought if no earlier response has it.
        """
        best, calls = self._best(result), []
        text = best.text
        if self.choice is not None:
            read = self.choice.read(best.text)
            text, calls = read.content, call_blocks(read)
        if self.answer is not None and not calls:
            text = self.answer.fields(text)["content"]
        if self._whole and delta is not None:
            delta, thought = text, best.reasoning or ""
        blocks: list[ContentBlock] = [] if calls and not text else [TextBlock(text=text)]
        if best.reasoning is not None:
            blocks.insert(0, ThinkingBlock(content=best.reasoning))
        return ChatResponse(
            message=ChatMessage(role=MessageRole.ASSISTANT, blocks=[*blocks, *calls]),
            raw=result.to_dict(),
            delta=delta,
            additional_kwargs={"icdpo": result.score_table(), **_thinking_delta(thought)},
        )

    def completion(self, result: ICDPOResult, delta: str | None = None) -> CompletionResponse:
        """Returns the response to a prompt."""
        best = self._best(result)
        text = best.text if self.answer is None else self.answer.fields(best.text)["content"]
        return CompletionResponse(
            text=text,
            raw=result.to_dict(),
            delta=text if self._whole and delta is not None else delta,
            additional_kwargs={"icdpo": result.score_table()},
        )

    def completion_chunk(self, text: str, chunk: AnswerChunk) -> CompletionResponse | None:
        """Returns the response of a chunk, as `chunk` does."""
        if chunk.result is not None:
            return self.completion(chunk.result, chunk.text)
        if self._whole or (chunk.thought and not chunk.text):
            return None
        return CompletionResponse(text=text, delta=chunk.text)

    @property
    def _whole(self) -> bool:
        """Whether an answer counts as a whole: until its end, a text may be a call."""
        return self.choice is not None or self.answer is not None

    def _best(self, result: ICDPOResult) -> Candidate:
        wanted = self.choice or self.answer
        return result.best if wanted is None else result.best_fitting(wanted.fitting)

    def chunk(self, text: str, chunk: AnswerChunk) -> ChatResponse | None:
        """Returns the response of a chunk; if the answer needs a form, only of the last.

        Args:
            text: the text of all chunks so far.
            chunk: the chunk.
        """
        if chunk.result is not None:
            return self.response(chunk.result, chunk.text, chunk.thought)
        if self._whole:
            return None
        return ChatResponse(
            message=ChatMessage(role=MessageRole.ASSISTANT, content=text),
            delta=chunk.text,
            additional_kwargs=_thinking_delta(chunk.thought),
        )


def _thinking_delta(thought: str) -> dict[str, str]:
    """Returns the thought under the key that LlamaIndex's agents read."""
    return {"thinking_delta": thought} if thought else {}
