"""`stream` and `astream`: an answer in pieces during sampling."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial
from typing import Any

from icdpo_chains.foundation.concurrency import cancellation
from icdpo_chains.progress import OnProgress, Progress, threads
from icdpo_chains.result import ICDPOResult

__all__ = ["AnswerChunk", "TextPieces", "astream", "stream"]

# Seconds between two checks of the caller's cancellation without new text.
_LOOK = 0.1


@dataclass(frozen=True)
class AnswerChunk:
    """A piece of an answer.

    Attributes:
        text: continues the text of the earlier chunks; all texts joined are the answer.
        result: the whole result with its scores; only in the last chunk.
        thought: the whole thought of a thinking model, in one chunk: before the answer's first text if the
            text arrives as it is sampled, or else with the answer.
    """

    text: str
    result: ICDPOResult | None = None
    thought: str = ""

    @classmethod
    def whole(cls, result: ICDPOResult) -> AnswerChunk:
        """Returns the only chunk of an answer."""
        return cls(result.text, result, result.best.reasoning or "")


class _Thought(str):
    """A thought among the texts of a thread."""


class TextPieces:
    """Cuts a growing text into pieces."""

    def __init__(self) -> None:
        self._sent = ""

    def piece(self, text: str) -> str:
        """Returns the part of the text that no earlier piece has.

        Args:
            text: the text so far; returns nothing unless it begins with all earlier pieces.
        """
        if not text.startswith(self._sent):
            return ""
        piece, self._sent = text[len(self._sent) :], text
        return piece


class _Reader:
    """The output of a thread as chunks."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress, self._pieces = on_progress, TextPieces()
        self._thought_sent = False

    def chunk(self, item: Any) -> AnswerChunk | None:
        if isinstance(item, BaseException):
            raise item
        if isinstance(item, ICDPOResult):
            thought = "" if self._thought_sent else item.best.reasoning or ""
            return AnswerChunk(self._pieces.piece(item.text), item, thought)
        if isinstance(item, _Thought):
            self._thought_sent = True
            return AnswerChunk("", thought=str(item)) if item else None
        if isinstance(item, Progress):
            if self._on_progress is not None:
                self._on_progress(item)
            return None
        piece = self._pieces.piece(item)
        return AnswerChunk(piece) if piece else None


def stream(
    generate: Callable[..., ICDPOResult], prompt: Any, options: Mapping[str, Any]
) -> Generator[AnswerChunk, None, None]:
    """Calls `ICDPO.generate` in a thread and yields its text; see `ICDPO.stream`."""
    taken_back = cancellation.get()
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    reader = _Reader(options.get("on_progress"))
    cancelled = _start(generate, prompt, options, items.put)
    try:
        last = False
        while not last:
            try:
                item = items.get(timeout=None if taken_back is None else _LOOK)
            except queue.Empty:
                if taken_back is not None and taken_back.is_set():
                    raise CancelledError from None
                continue
            chunk = reader.chunk(item)
            if chunk is not None:
                last = chunk.result is not None
                yield chunk
    finally:
        cancelled.set()


async def astream(
    generate: Callable[..., ICDPOResult], prompt: Any, options: Mapping[str, Any]
) -> AsyncGenerator[AnswerChunk, None]:
    """`stream` without blocking the event loop."""
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[Any] = asyncio.Queue()
    reader = _Reader(options.get("on_progress"))

    def put(item: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody reads
            loop.call_soon_threadsafe(items.put_nowait, item)

    cancelled = _start(generate, prompt, options, put)
    try:
        last = False
        while not last:
            chunk = reader.chunk(await items.get())
            if chunk is not None:
                last = chunk.result is not None
                yield chunk
    finally:
        cancelled.set()


def _start(
    generate: Callable[..., ICDPOResult],
    prompt: Any,
    options: Mapping[str, Any],
    put: Callable[[Any], None],
) -> threading.Event:
    """Starts `generate` in a thread.

    Args:
        generate: see `ICDPO.generate`.
        prompt: its argument.
        options: its options.
        put: receives the text so far, the thought, each completed stage, and finally the result or the error.

    Returns:
        The event that cancels the work.

    Raises:
        TypeError: an option would take the stream's texts away.
    """
    for name in ("on_text", "on_thought"):
        if name in options:
            raise TypeError(f"stream() and astream() take no {name}: read the chunks, or call generate()")
    cancelled = threading.Event()
    context = contextvars.copy_context()
    context.run(cancellation.set, cancelled)

    def on_thought(thought: str) -> None:
        put(_Thought(thought))

    call = partial(
        generate, prompt, **{**options, "on_progress": put, "on_text": put, "on_thought": on_thought}
    )

    def work() -> None:
        try:
            put(call())
        except BaseException as error:
            put(error)

    threads().submit(context.run, work)
    return cancelled
