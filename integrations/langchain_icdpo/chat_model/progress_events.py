"""Sends ICDPO's progress as custom events of LangChain."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.callbacks.manager import BaseRunManager, ahandle_event, handle_event
from langchain_core.runnables.config import ensure_config, get_callback_manager_for_config

from icdpo_chains.progress import OnProgress, Progress

__all__ = ["ProgressEvents"]


class ProgressEvents:
    """Sends an `icdpo_progress` event after each stage; does nothing outside a run.

    Args:
        run_manager: the manager of the events' run; by default that of the surrounding run.
    """

    NAME = "icdpo_progress"

    def __init__(self, run_manager: BaseRunManager | None = None) -> None:
        self._pending: list[asyncio.Task[None]] = []
        if run_manager is not None:
            self._handlers = run_manager.handlers
            run_id, tags, metadata = run_manager.run_id, run_manager.tags, run_manager.metadata
        else:
            manager = get_callback_manager_for_config(ensure_config())
            self._handlers = manager.handlers if manager.parent_run_id else []
            run_id, tags, metadata = manager.parent_run_id, manager.tags, manager.metadata  # type: ignore[assignment]
        self._run: dict[str, Any] = {"run_id": run_id, "tags": tags, "metadata": metadata}

    @property
    def on_progress(self) -> OnProgress | None:
        """Reports the progress of a call in this thread."""
        return self._send if self._handlers else None

    @property
    def on_async_progress(self) -> OnProgress | None:
        """Reports the progress of a call on the event loop; await `sent` after the call."""
        return self._send_later if self._handlers else None

    async def sent(self) -> None:
        """Waits until all events are sent."""
        await asyncio.gather(*self._pending)

    def _send(self, progress: Progress) -> None:
        handle_event(self._handlers, *self._event(progress), **self._run)

    def _send_later(self, progress: Progress) -> None:
        event = ahandle_event(self._handlers, *self._event(progress), **self._run)
        self._pending.append(asyncio.get_running_loop().create_task(event))

    def _event(self, progress: Progress) -> tuple[Any, ...]:
        return "on_custom_event", "ignore_custom_event", self.NAME, progress.to_dict()
