"""`MicroBatches`: samples the requests of several threads together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace

from icdpo_chains.errors import QueueFullError
from icdpo_chains.foundation.concurrency import cancellation
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

    def settle(self, result: list[Sample] | Exception) -> None:
        if isinstance(result, Exception):
            self.error = result
        else:
            self.samples = result


class MicroBatches:
    """A queue without a thread of its own: a caller that finds the model free runs the next batch.

    A batch takes the waiting requests in the order of their arrival, as many as fit. No request waits for a
    batch to fill, and none overtakes another.

    Args:
        run: samples for requests together; the results do not depend on the batch. An error in place of the
            samples of a request is raised for this request alone.
        max_rows: the maximum number of candidates of a batch; a request with more candidates runs alone.
        lock: the lock of the model.
        max_waiting: the maximum number of requests that may wait. The requests of one call are never split.
        fitting: returns how many of some requests, from the first on, the memory can hold together: at least
            one. By default all of them.

    Attributes:
        on_batch: a function that receives the numbers of requests and of candidates before each batch. It is
            called from any thread and must not raise.
    """

    on_batch: Callable[[int, int], None] | None = None

    def __init__(
        self,
        run: Callable[[Sequence[SampleRequest]], Sequence[list[Sample] | Exception]],
        max_rows: int,
        lock: threading.RLock,
        max_waiting: int = 1024,
        fitting: Callable[[Sequence[SampleRequest]], int] = len,
    ) -> None:
        self._run, self._max_rows, self._lock = run, max_rows, lock
        self._fitting = fitting
        self._max_waiting = max_waiting
        self._waiting: deque[_Job] = deque()

    def sample(self, requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        """Returns the samples of each request.

        Raises:
            CancelledError: the event in `cancellation` was set.
            QueueFullError: too many requests wait already.
            Exception: `run` raises it for one of these requests alone.
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
                if not job.done:  # interrupted: no caller waits for it any more
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
        if not batch:  # all waiting requests were abandoned
            return
        if self.on_batch is not None:
            self.on_batch(len(batch), sum(job.request.n for job in batch))
        try:
            if not self._ran(batch):  # the error belongs to one of them
                for job in batch:
                    self._ran([job])
        except BaseException:  # Ctrl-C in this thread: another thread takes up the others' requests
            self._waiting.extendleft(reversed([job for job in batch if not job.done]))
            raise

    def _ran(self, batch: Sequence[_Job]) -> bool:
        """Runs jobs together. Returns whether they are done; a job that runs alone gets its error."""
        try:
            results = self._run([job.request for job in batch])
            for job, result in zip(batch, results, strict=True):
                job.settle(result)
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
            return len(batch) == 1
        return True

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
        count = 0
        try:
            count = self._fitting([job.request for job in batch]) if len(batch) > 1 else len(batch)
        finally:
            self._waiting.extendleft(reversed(batch[count:]))
        return batch[:count]
