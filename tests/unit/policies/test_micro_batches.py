"""Many callers and one model: what runs together, in which order, and what goes wrong for whom."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import pytest

from icdpo_chains.errors import PolicyMemoryError, QueueFullError
from icdpo_chains.policies.micro_batches import MicroBatches
from icdpo_chains.policies.sampling import Sample, SampleRequest, SamplingParams
from icdpo_chains.progress import in_thread


def request(number: int, n: int = 1) -> SampleRequest:
    return SampleRequest((number,), n, SamplingParams())


class Model:
    """Gives back the context as the sample; waits for `go`, fails for contexts that are in `broken`."""

    def __init__(self, max_rows: int = 8, max_waiting: int = 1024) -> None:
        self.ran: list[list[int]] = []
        self.broken: dict[int, BaseException] = {}
        self.go = threading.Event()
        self.go.set()
        self.busy = threading.Event()
        self.batches = MicroBatches(self.run, max_rows, threading.RLock(), max_waiting)

    def run(self, requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        numbers = [item.context[0] for item in requests]
        self.ran.append(numbers)
        self.busy.set()
        assert self.go.wait(10)
        for number in numbers:
            if number in self.broken:
                raise self.broken[number]
        return [[Sample((item.context[0],), (0.0,), "", "stop")] * item.n for item in requests]

    def ask(self, number: int, n: int = 1) -> int:
        ((sample, *others),) = self.batches.sample([request(number, n)])
        assert len(others) == n - 1
        return sample.token_ids[0]

    def occupied(self, pool: ThreadPoolExecutor) -> None:
        """Has the model at work on request 0, until `go` is set."""
        self.go.clear()
        pool.submit(self.ask, 0)
        assert self.busy.wait(10)

    def waits_for(self, count: int) -> None:
        while len(self.batches._waiting) < count:
            threading.Event().wait(0.001)

    def asked_together(self, pool: ThreadPoolExecutor, count: int) -> list[Future[int]]:
        """Asks for 1, 2, ... from a thread each; all of them wait before the model is free."""
        self.occupied(pool)
        results = []
        for number in range(1, count + 1):
            results.append(pool.submit(self.ask, number))
            self.waits_for(number)
        self.go.set()
        return results


def test_64_callers_get_their_own_in_the_order_of_their_coming() -> None:
    model = Model()
    with ThreadPoolExecutor(65) as pool:
        results = model.asked_together(pool, 64)
        assert [result.result(10) for result in results] == list(range(1, 65))
    assert model.ran == [[0], *([*range(i, i + 8)] for i in range(1, 65, 8))]


def test_a_lone_caller_waits_for_nobody() -> None:
    model = Model()
    assert model.ask(5) == 5
    assert [item[0].token_ids for item in model.batches.sample([request(1), request(2, 3)])] == [(1,), (2,)]
    assert model.ran == [[5], [1, 2]]


def test_a_request_with_more_rows_than_a_batch_has_is_run_alone() -> None:
    model = Model()
    assert len(model.batches.sample([request(1, 2), request(2, 20), request(3, 8), request(4, 1)])) == 4
    assert model.ran == [[1], [2], [3], [4]]


def test_a_batch_is_no_larger_than_the_memory() -> None:
    model = Model()
    asked: list[list[int]] = []

    def fitting(requests: Sequence[SampleRequest]) -> int:
        asked.append([item.context[0] for item in requests])
        return min(3, len(requests))

    model.batches._fitting = fitting
    requests = [request(number) for number in range(7)]
    assert [own[0].token_ids[0] for own in model.batches.sample(requests)] == list(range(7))
    assert model.ran == [[0, 1, 2], [3, 4, 5], [6]]
    assert asked == [[0, 1, 2, 3, 4, 5, 6], [3, 4, 5, 6]]


def test_a_memory_that_can_not_be_asked_loses_no_request() -> None:
    model = Model()
    asked: list[int] = []

    def fitting(requests: Sequence[SampleRequest]) -> int:
        asked.append(len(requests))
        if len(asked) == 1:
            raise RuntimeError("the device is gone")
        return len(requests)

    model.batches._fitting = fitting
    with ThreadPoolExecutor(4) as pool:
        results = model.asked_together(pool, 2)
        outcomes = [result.exception(10) for result in results]
    assert sorted(map(type, outcomes), key=str) == sorted([RuntimeError, type(None)], key=str)


def test_an_error_in_place_of_samples_is_its_own_callers_alone() -> None:
    model = Model()

    def run(requests: Sequence[SampleRequest]) -> list[list[Sample] | Exception]:
        samples = Model.run(model, requests)
        return [
            PolicyMemoryError("two") if item.context[0] == 2 else own
            for item, own in zip(requests, samples, strict=True)
        ]

    model.batches._run = run
    with ThreadPoolExecutor(4) as pool:
        results = model.asked_together(pool, 3)
        assert (results[0].result(10), results[2].result(10)) == (1, 3)
        with pytest.raises(PolicyMemoryError, match="two"):
            results[1].result(10)
    assert model.ran == [[0], [1, 2, 3]], "nothing is sampled twice"


def test_ctrl_c_while_each_runs_alone_loses_nobody_elses_request() -> None:
    model = Model()
    model.broken[2] = ValueError("two")
    interrupted = threading.Event()

    def run(requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        if [item.context[0] for item in requests] == [1] and not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt
        return Model.run(model, requests)

    model.batches._run = run
    with ThreadPoolExecutor(4) as pool:
        results = model.asked_together(pool, 3)
        outcomes = [result.exception(10) for result in results]
    assert KeyboardInterrupt in map(type, outcomes)
    assert model.ask(3) == 3


def test_an_error_is_its_own_callers_alone() -> None:
    model = Model()
    model.broken[2] = ValueError("two")
    with ThreadPoolExecutor(4) as pool:
        results = model.asked_together(pool, 3)
        assert results[0].result(10) == 1
        assert results[2].result(10) == 3
        with pytest.raises(ValueError, match="two"):
            results[1].result(10)


def test_ctrl_c_in_the_thread_that_works_for_all_loses_nobody_elses_request() -> None:
    model = Model()
    interrupted = threading.Event()

    def run(requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        if [item.context[0] for item in requests] == [1, 2] and not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt
        return Model.run(model, requests)

    model.batches._run = run
    with ThreadPoolExecutor(4) as pool:
        results = model.asked_together(pool, 2)
        outcomes = [result.exception(10) for result in results]
        # One of them worked for both and was interrupted; the other one has its answer.
        assert sorted(map(type, outcomes), key=str) == sorted([KeyboardInterrupt, type(None)], key=str)
        assert model.ask(3) == 3


async def test_a_cancelled_task_frees_its_place() -> None:
    model = Model()
    with ThreadPoolExecutor(1) as pool:
        model.occupied(pool)
        tasks = []
        for number in (1, 2, 3):
            tasks.append(asyncio.create_task(in_thread(model.ask, number)))
            await asyncio.to_thread(model.waits_for, number)
        tasks[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        model.go.set()
        assert [await tasks[0], await tasks[2]] == [1, 3]
    assert model.ran == [[0], [1, 3]]


async def test_what_is_cancelled_while_it_is_sampled_stops_there() -> None:
    model = Model()
    model.go.clear()
    seen: list[SampleRequest] = []

    def run(requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        seen.extend(requests)
        return Model.run(model, requests)

    model.batches._run = run
    ended = threading.Event()

    def ask() -> None:
        try:
            model.ask(1)
        except CancelledError:
            ended.set()

    task = asyncio.create_task(in_thread(ask))
    assert await asyncio.to_thread(model.busy.wait, 10)
    assert seen[0].cancelled is not None
    assert not seen[0].cancelled.is_set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen[0].cancelled.is_set()
    model.go.set()
    assert await asyncio.to_thread(ended.wait, 10)


async def test_where_all_are_cancelled_nothing_is_run() -> None:
    model = Model()
    with ThreadPoolExecutor(1) as pool:
        model.occupied(pool)
        task = asyncio.create_task(in_thread(model.ask, 1))
        await asyncio.to_thread(model.waits_for, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        model.go.set()
    await asyncio.to_thread(model.ask, 2)
    assert [numbers for numbers in model.ran if numbers != [2]] == [[0]]


def test_a_full_queue_refuses_and_serves_those_that_wait() -> None:
    model = Model(max_waiting=3)
    with ThreadPoolExecutor(8) as pool:
        model.occupied(pool)
        results = [pool.submit(model.ask, number) for number in (1, 2, 3)]
        model.waits_for(3)
        with pytest.raises(QueueFullError, match="3 requests wait for the model already, and no more than 3"):
            model.ask(4)
        model.go.set()
        assert [result.result(10) for result in results] == [1, 2, 3]
    assert model.ask(5) == 5


def test_one_call_may_have_more_requests_than_the_queue() -> None:
    model = Model(max_waiting=2)
    assert len(model.batches.sample([request(number) for number in range(7)])) == 7
