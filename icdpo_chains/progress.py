"""`Progress`: the report that a callback receives after each stage of an answer."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, TypeVar

from icdpo_chains.demonstrations.retriever import RetrievedDemonstration
from icdpo_chains.draft import Answer
from icdpo_chains.foundation.concurrency import cancellation
from icdpo_chains.foundation.jsonl import json_safe
from icdpo_chains.result import Candidate

__all__ = ["OnProgress", "Progress", "Stage", "Stages", "in_thread", "threads"]

Stage = Literal["retrieved", "sampled", "scored"]

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """The report of one completed stage.

    Attributes:
        stage: the completed stage: `"retrieved"`, `"sampled"` or `"scored"`.
        seconds: the duration of the stage.
        demonstrations: the demonstrations found, after `"retrieved"`.
        answers: the candidates, after `"sampled"`; empty if given answers are scored.
        candidates: best first, after `"scored"`.
    """

    stage: Stage
    seconds: float
    demonstrations: tuple[RetrievedDemonstration, ...] = ()
    answers: tuple[Answer, ...] = ()
    candidates: tuple[Candidate, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values: ids of demonstrations, texts of answers, texts and scores of candidates."""
        event: dict[str, Any] = {"stage": self.stage, "seconds": self.seconds}
        if self.demonstrations:
            event["demonstrations"] = [found.demonstration.id for found in self.demonstrations]
        if self.answers:
            event["answers"] = [answer.text for answer in self.answers]
        if self.candidates:
            event["candidates"] = [{"text": item.text, "score": item.score} for item in self.candidates]
        safe: dict[str, Any] = json_safe(event)
        return safe


OnProgress = Callable[[Progress], None]


class Stages:
    """The clock of one call; reports each completed stage.

    Args:
        on_progress: called after each stage.
    """

    _NAMES = {"retrieved": "retrieve", "sampled": "sample", "scored": "score"}  # noqa: RUF012

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self._began = self._last = time.perf_counter()
        self._seconds: dict[str, float] = {}

    def done(self, stage: Stage, **what: Any) -> None:
        """Ends a stage and reports it, with the stage's fields of `Progress`."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        self._seconds[self._NAMES[stage]] = seconds
        if self._on_progress is not None:
            self._on_progress(Progress(stage, seconds, **what))

    def timings(self) -> dict[str, float]:
        """Returns seconds by stage, and their `total`."""
        return {**self._seconds, "total": self._last - self._began}


@cache
def threads() -> ThreadPoolExecutor:
    """Returns the thread pool that answers questions."""
    # Threads that wait for the model share a batch; asyncio's default pool is too small for large batches.
    return ThreadPoolExecutor(64, thread_name_prefix="icdpo")


if hasattr(os, "register_at_fork"):
    # The pool's threads do not exist in a forked process.
    os.register_at_fork(after_in_child=threads.cache_clear)


async def in_thread(call: Callable[..., T], *args: Any, **options: Any) -> T:
    """Runs a call in a thread without blocking the event loop; `on_progress` is called on the loop.

    Cancelling the task cancels the call's requests to the policy.
    """
    loop = asyncio.get_running_loop()
    on_progress: OnProgress | None = options.get("on_progress")
    if on_progress is not None:
        options["on_progress"] = lambda progress: loop.call_soon_threadsafe(on_progress, progress)
    cancelled = threading.Event()
    context = contextvars.copy_context()
    context.run(cancellation.set, cancelled)
    try:
        return await loop.run_in_executor(threads(), partial(context.run, call, *args, **options))
    except asyncio.CancelledError:
        cancelled.set()
        raise
