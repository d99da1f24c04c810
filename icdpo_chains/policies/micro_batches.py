"""`MicroBatches`: what several threads ask for at the same time is sampled together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace

from icdpo_chains.concurrency import cancellation
from icdpo_chains.errors import QueueFullError
from icdpo_chains.policies.sampling import Sample, SampleRequest

__all__ = ["MicroBatches"]


@dataclass(eq=False)
class _Job:
    request: SampleRequest
    samples: list[Sample] | None = None
    error: Exception | None = None
    abandoned: threading.Event = field(default_factory=threading.Event)

    @property
    def done(self) -> bool:
        return self.samples is not None or self.error is not None


class MicroBatches:
    """A queue without a thread of its own: whoever finds the model free works for all that wait.

    Requests are taken in the order in which they came, as many as fit into a batch. So nobody waits for a
    batch to fill up, and nobody is overtaken.

    Args:
        run: samples for requests together; the results do not depend on what is run together.
        max_rows: how many candidates one batch may have; a request with more is run alone.
        lock: held while the model works.
        max_waiting: where so many requests wait, no more are taken; those of one call are never torn apart.

    Attributes:
        on_batch: where given, called with the numbers of requests and of candidates before each batch; from
            any thread, and must not raise.
    """

    on_batch: Callable[[int, int], None] | None = None

    def __init__(
        self,
        run: Callable[[Sequence[SampleRequest]], list[list[Sample]]],
        max_rows: int,
        lock: threading.RLock,
        max_waiting: int = 1024,
    ) -> None:
        self._run, self._max_rows, self._lock = run, max_rows, lock
        self._max_waiting = max_waiting
        self._waiting: deque[_Job] = deque()

    def sample(self, requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        """Returns the samples of each request.

        Raises:
            CancelledError: the event in `cancellation` was set.
            QueueFullError: too many requests wait already.
            Exception: what `run` raises for one of these requests by itself.
        """
        cancelled = cancellation.get() or threading.Event()
        waiting = len(self._waiting)
        if waiting >= self._max_waiting:
            raise QueueFullError(
                f"{waiting} requests wait for the model already, and no more than {self._max_waiting} may: "
                "ask again later, or build the policy with a larger max_waiting"
            )
        jobs = [_Job(replace(request, cancelled=cancelled), abandoned=cancelled) for request in requests]
        self._waiting.extend(jobs)
        try:
            for job in jobs:
                while not job.done:
                    with self._lock:
                        if not job.done:
                            self._work()
        finally:
            for job in jobs:
                if not job.done:  # interrupted: nobody waits for it any more
                    job.abandoned.set()
        if cancelled.is_set():
            raise CancelledError
        results: list[list[Sample]] = []
        for job in jobs:
            if job.samples is None:
                raise job.error or CancelledError()
            results.append(job.samples)
        return results

    def _work(self) -> None:
        """Runs the next batch."""
        batch = self._next_batch()
        if not batch:  # all that waited were abandoned
            return
        if self.on_batch is not None:
            self.on_batch(len(batch), sum(job.request.n for job in batch))
        try:
            samples = self._run([job.request for job in batch])
            for job, own in zip(batch, samples, strict=True):
                job.samples = own
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for job in batch:  # the others have nothing to do with it
                try:
                    (job.samples,) = self._run([job.request])
                except Exception as own_error:
                    job.error = own_error
        except BaseException:  # Ctrl-C in this thread: the others' work is taken up by another one
            self._waiting.extendleft(reversed([job for job in batch if not job.done]))
            raise

    def _next_batch(self) -> list[_Job]:
        batch: list[_Job] = []
        rows = 0
        while self._waiting:
            job = self._waiting.popleft()
            if job.abandoned.is_set():
                job.error = CancelledError()
                continue
            if batch and rows + job.request.n > self._max_rows:
                self._waiting.appendleft(job)
                break
            batch.append(job)
            rows += job.request.n
        return batch
