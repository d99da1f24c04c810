"""`Portions`: computes requests in portions that the device's memory can hold."""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from icdpo_chains.errors import PolicyMemoryError
from icdpo_chains.policies.policy import ScoreRequest
from icdpo_chains.policies.sampling import Sample, SampleRequest
from icdpo_chains.policies.token_stream import OtherTokensError, RepeatedStream
from icdpo_chains.policies.transformers.device_memory import tried
from icdpo_chains.policies.transformers.memory_estimate import Load, Request, rows_of

__all__ = ["Portions"]

R = TypeVar("R", bound=Request)
T = TypeVar("T")

Portion = list[tuple[int, R]]
"""The numbers of requests, with the requests or parts of them."""

_log = logging.getLogger(__name__)

# The largest share of the free memory to plan with; the estimate leaves out the layers' own results.
_MOST = 0.9

# After a failure, the next portions may have a somewhat larger load than the halves of the failed portion:
# the free memory is never quite the same.
_TOLERANCE = 1.05


class Portions:
    """Computes requests in portions that the device's memory can hold. Not thread-safe.

    A portion is all of the requests if they fit by the estimate. If the memory is used up nevertheless, what
    was allocated is released, the portion is halved, and its halves are computed from the beginning, with the
    same seeds: the results are the same. Later portions are smaller from the start. Requests are separated
    first, then the candidates of one request.

    Args:
        name: the model's name, for messages.
        load: estimates the load of requests that are computed together.
        release: drops states of the model's owner that can be computed again.
    """

    def __init__(
        self, name: str, load: Callable[[Sequence[Request]], Load], release: Callable[[], None]
    ) -> None:
        self._name, self._load, self._release = name, load, release
        self._most = _MOST

    def fitting(self, requests: Sequence[Request]) -> int:
        """Returns how many of the requests, from the first on, fit together: at least one."""
        low, high = 1, len(requests)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._fits(requests[:middle]) else (low, middle - 1)
        return low

    def sample(
        self,
        requests: Sequence[SampleRequest],
        run: Callable[[Sequence[SampleRequest]], list[list[Sample]]],
    ) -> list[list[Sample] | PolicyMemoryError]:
        """Samples for requests, together as far as the memory allows.

        Args:
            requests: the requests.
            run: samples for requests together.

        Returns:
            The samples of each request, or an error in place of them if not even one candidate fits.
        """
        results: list[list[Sample] | PolicyMemoryError] = [[] for _ in requests]
        seeded = [_seeded(request) for request in requests]

        def sampled(some: Sequence[SampleRequest]) -> list[list[Sample]]:
            try:
                return run([_repeated(request) for request in some])
            except OtherTokensError:  # other sizes of portions are rounded otherwise on a GPU
                return run(some)

        def is_needed(number: int, request: SampleRequest) -> bool:
            cancelled = request.cancelled is not None and request.cancelled.is_set()
            return not cancelled and not isinstance(results[number], PolicyMemoryError)

        for portion, found in self._computed(seeded, sampled, is_needed):
            for (number, _), samples in zip(portion, found, strict=True):
                before = results[number]
                if isinstance(samples, PolicyMemoryError):
                    results[number] = samples
                elif not isinstance(before, PolicyMemoryError):
                    before += samples
        return results

    def score(
        self,
        requests: Sequence[ScoreRequest],
        run: Callable[[Sequence[ScoreRequest]], list[list[list[float]]]],
    ) -> list[list[list[float]]]:
        """Scores the continuations of requests, together as far as the memory allows.

        Args:
            requests: the requests.
            run: scores for requests together.

        Raises:
            PolicyMemoryError: not even one continuation fits.
        """
        results: list[list[list[float]]] = [[] for _ in requests]
        for portion, found in self._computed(requests, run, lambda number, request: True):
            for (number, _), logprobs in zip(portion, found, strict=True):
                if isinstance(logprobs, PolicyMemoryError):
                    raise logprobs
                results[number] += logprobs
        return results

    def _computed(
        self,
        requests: Sequence[R],
        run: Callable[[Sequence[R]], list[T]],
        is_needed: Callable[[int, R], bool],
    ) -> Iterator[tuple[Portion[R], list[T | PolicyMemoryError]]]:
        """Yields portions with their results; the parts of a request follow in their order."""
        waiting = deque([list(enumerate(requests))])
        limits = _Limits(self._most)
        try:
            yield from self._until_done(waiting, limits, run, is_needed)
        finally:
            if self._most < limits.before:
                _log.warning(
                    "the memory is used up: %s computes in smaller portions from now on, with the same "
                    "answers",
                    self._name,
                )

    def _until_done(
        self,
        waiting: deque[Portion[R]],
        limits: _Limits,
        run: Callable[[Sequence[R]], list[T]],
        is_needed: Callable[[int, R], bool],
    ) -> Iterator[tuple[Portion[R], list[T | PolicyMemoryError]]]:
        while waiting:
            portion = [
                (number, request) for number, request in waiting.popleft() if is_needed(number, request)
            ]
            if not portion:
                continue
            parts = [request for _, request in portion]
            halves = _halves(portion)
            load = self._load(parts)
            if halves and load.share > self._most:
                if len(portion) > 1:
                    count = self.fitting(parts)
                    halves = [portion[:count], portion[count:]]
                waiting.extendleft(reversed(halves))
                continue
            compute = partial(run, parts)
            found = tried(compute, self._release)
            if found is None and not halves:
                found = tried(compute, self._release)  # other computations may have released theirs
            if found is not None:
                yield portion, list(found)
                continue
            numbers = {number for number, _ in portion}
            if halves:
                largest = max(self._load([request for _, request in half]).share for half in halves)
                limits.failed(numbers, min(_TOLERANCE * largest, 0.99 * load.share))
                waiting.extendleft(reversed(halves))
            else:
                limits.too_long(numbers)
            self._most = limits.least
            if not halves:
                yield portion, [self._error(parts[0], load)]

    def _fits(self, requests: Sequence[Request]) -> bool:
        return self._load(requests).share <= self._most

    def _error(self, request: Request, load: Load) -> PolicyMemoryError:
        if isinstance(request, SampleRequest):
            what, new = "one candidate", request.sampling.max_new_tokens
        else:
            what, new = "the score of one answer", max(map(len, request.continuations), default=0)
        sizes = ""
        if load.needed is not None and load.free is not None:
            sizes = f", about {load.needed / 2**30:.2f} GiB where {load.free / 2**30:.2f} GiB are free"
        return PolicyMemoryError(
            f"the memory of {load.device} can't hold {what} of {self._name} with {len(request.context)} "
            f"tokens of context and {new} new ones{sizes}: lower max_tokens, shorten the context (fewer "
            "demonstrations), load the model with quantization='4bit', or use a smaller model"
        )


class _Limits:
    """What the failures of a call say about the size of portions.

    A request of which not even one row fits fails in portions of any size: such failures say nothing.

    Args:
        before: the limit before the call, as a share of the free memory.
    """

    def __init__(self, before: float) -> None:
        self.before = before
        self._failures: list[tuple[set[int], float]] = []
        self._too_long: set[int] = set()

    def failed(self, numbers: set[int], limit: float) -> None:
        """Records that a portion of these requests failed, and the limit of its halves."""
        self._failures.append((numbers, limit))

    def too_long(self, numbers: set[int]) -> None:
        """Records that not even one row of these requests fits."""
        self._too_long |= numbers

    @property
    def least(self) -> float:
        """The limit after the call."""
        return min(
            [self.before, *(limit for numbers, limit in self._failures if not numbers & self._too_long)]
        )


def _halves(portion: Portion[R]) -> list[Portion[R]]:
    """Returns a portion in two smaller ones; nothing if it can't be made smaller."""
    if len(portion) == 1:
        ((number, request),) = portion
        return [[(number, part)] for part in _parts(request)]
    half, rows, count = sum(rows_of(request) for _, request in portion) / 2, 0, 0
    for _, request in portion[:-1]:
        if count and rows + rows_of(request) > half:
            break
        rows, count = rows + rows_of(request), count + 1
    return [portion[:count], portion[count:]]


def _parts(request: R) -> Sequence[R]:
    """Returns requests that ask for the same, each for less; nothing if there are none."""
    if isinstance(request, ScoreRequest):
        half = len(request.continuations) // 2
        some = (request.continuations[:half], request.continuations[half:])
        return [replace(request, continuations=each) for each in some] if half else []
    if request.finalists is not None:
        # Rejection compares all candidates. Without rejection, each is sampled to the end.
        return [replace(request, finalists=None, contrast=())]
    half = request.n // 2
    rest = replace(request, n=request.n - half, first=request.first + half)
    return [replace(request, n=half), rest] if half else []


def _seeded(request: SampleRequest) -> SampleRequest:
    """Returns the request with a seed, which all its parts and new beginnings have."""
    if request.sampling.seed is not None:
        return request
    return replace(request, sampling=replace(request.sampling, seed=secrets.randbits(63)))


def _repeated(request: SampleRequest) -> SampleRequest:
    """Returns the request for a new beginning: its stream does not repeat text."""
    if request.stream is None or not request.stream.token_ids:
        return request
    return replace(request, stream=RepeatedStream(request.stream))
