"""Converts the core's stream to LangChain's chunks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from icdpo_chains.result import ICDPOResult
from icdpo_chains.streaming import AnswerChunk
from langchain_icdpo.chat_model.call import Call
from langchain_icdpo.chat_model.progress_events import ProgressEvents

__all__ = ["astreamed", "message_chunks", "streamed"]


def streamed(call: Call, result: ICDPOResult | None, run_manager: Any) -> Generator[AnswerChunk, None, None]:
    """Yields the answer to a call in pieces; as a whole if it must be a tool call or JSON.

    Args:
        call: the question.
        result: the result of a batch that contained the call, if there is one.
        run_manager: the manager of the run that receives progress events.
    """
    on_progress = ProgressEvents(run_manager).on_progress
    if result is None and call.wanted is None:
        yield from call.icdpo.stream(call.conversation, **call.options, on_progress=on_progress)
        return
    yield AnswerChunk.whole(
        result or call.icdpo.generate(call.conversation, **call.options, on_progress=on_progress)
    )


async def astreamed(
    call: Call, result: ICDPOResult | None, run_manager: Any
) -> AsyncGenerator[AnswerChunk, None]:
    """`streamed` without blocking the event loop."""
    events = ProgressEvents(run_manager)
    options = {**call.options, "on_progress": events.on_async_progress}
    if result is None and call.wanted is None:
        async with aclosing(call.icdpo.astream(call.conversation, **options)) as chunks:
            async for chunk in chunks:
                if chunk.result is not None:
                    await events.sent()
                yield chunk
        return
    result = result or await call.icdpo.agenerate(call.conversation, **options)
    await events.sent()
    yield AnswerChunk.whole(result)


def message_chunks(call: Call, chunk: AnswerChunk) -> Iterator[ChatGenerationChunk]:
    """Yields LangChain's chunks for a piece: thought, text, or the last text with the metadata, then the end.

    LangChain adds up the numbers of all chunks and refuses floats that are in more than one. One chunk
    therefore has all of them.
    """
    if chunk.result is None:
        yield ChatGenerationChunk(
            message=AIMessageChunk(content=chunk.text, additional_kwargs=_thought(chunk.thought))
        )
        return
    message = call.message(chunk.result)
    # The message may be another candidate than the best: one that is a tool call or JSON.
    thought = chunk.thought if call.wanted is None else message.additional_kwargs.get("reasoning_content")
    if thought:
        yield ChatGenerationChunk(message=AIMessageChunk(content="", additional_kwargs=_thought(thought)))
    answer = AIMessageChunk(
        content=chunk.text if call.wanted is None else message.content,
        additional_kwargs={
            key: value for key, value in message.additional_kwargs.items() if key != "reasoning_content"
        },
        response_metadata=message.response_metadata,
        usage_metadata=message.usage_metadata,
        tool_calls=message.tool_calls,
        invalid_tool_calls=message.invalid_tool_calls,
    )
    yield ChatGenerationChunk(message=answer)
    yield ChatGenerationChunk(message=AIMessageChunk(content="", chunk_position="last"))


def _thought(thought: str) -> dict[str, str]:
    return {"reasoning_content": thought} if thought else {}
