"""`LiveText`: passes a growing answer from the sampling thread to a client's stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from icdpo_chains.streaming import TextPieces

__all__ = ["LiveText"]


class LiveText:
    """The growing text of one answer; created on the event loop.

    Args:
        chunk: builds the chunk for a piece of text.
        thought_chunk: builds the chunk for the thought.

    Attributes:
        thought_sent: whether `next` has returned the thought.
    """

    def __init__(
        self,
        chunk: Callable[[str], dict[str, Any]],
        thought_chunk: Callable[[str], dict[str, Any]] | None = None,
    ) -> None:
        self._chunk, self._pieces = chunk, TextPieces()
        self._thought_chunk, self._thought, self.thought_sent = thought_chunk, "", False
        self._loop = asyncio.get_running_loop()
        self._grown = asyncio.Event()
        self._text = ""

    def put(self, text: str) -> None:
        """Receives the answer so far, from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody reads
            self._loop.call_soon_threadsafe(self._take, text)

    def put_thought(self, text: str) -> None:
        """Receives the whole thought before the first text, from any thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._take_thought, text)

    async def grown(self) -> None:
        """Waits for a new piece."""
        await self._grown.wait()

    def next(self) -> dict[str, Any] | None:
        """Returns the chunk of the thought, then of the text since the last call, if there is any."""
        if self._thought and self._thought_chunk is not None and not self.thought_sent:
            self.thought_sent = True
            return self._thought_chunk(self._thought)  # the text that follows stays announced
        self._grown.clear()
        piece = self._pieces.piece(self._text)
        return self._chunk(piece) if piece else None

    def rest(self, text: str) -> str:
        """Returns the end of the answer that no chunk contained."""
        return self._pieces.piece(text)

    def _take_thought(self, text: str) -> None:
        self._thought = text

    def _take(self, text: str) -> None:
        if len(text) > len(self._text):
            self._text = text
            self._grown.set()
