"""`ray_answers`: Ray Data reads, answers and returns rows. Importing this module needs Ray."""

from __future__ import annotations

import itertools
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext, Datasource, ReadTask
from ray.data.block import BlockMetadata

from icdpo_chains import errors
from icdpo_chains.batch.answering import answer_rows
from icdpo_chains.batch.input import JobRow, job_rows
from icdpo_chains.batch.job import chunks
from icdpo_chains.config import ICDPOConfig
from icdpo_chains.icdpo import ICDPO

__all__ = ["ray_answers", "ray_cluster"]

# One row of Ray is one chunk of ours, as JSON; one block is one such row.
_ROWS, _ANSWERS = "rows", "answers"


@contextmanager
def ray_cluster(address: str | None) -> Iterator[None]:
    """Connects to a cluster, or starts one on this machine; an existing connection is used.

    Args:
        address: the address for `ray.init`; `None` starts a cluster.

    Raises:
        ICDPOError: the cluster is unreachable, or can't be started.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            ray.init("local", include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
        else:
            _check_reached(address)
            ray.init(address, **quiet)
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        where = "on this machine can't be started" if address is None else f"at {address!r} is unreachable"
        raise errors.ICDPOError(f"the Ray cluster {where}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reached(address: str) -> None:
    """Fails at once if the address is unreachable; Ray itself retries for minutes."""
    if address.startswith("ray://"):
        raise ValueError("a job runs on a node of the cluster, not through Ray's client: use HOST:PORT there")
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def ray_answers(
    configs: Sequence[ICDPOConfig],
    prompts: Path,
    *,
    seed: int,
    done: set[int],
    build: Callable[[ICDPOConfig], ICDPO],
    workers: int | None,
    chunk: int,
) -> Iterator[list[dict[str, Any]]]:
    """Yields the records of one chunk at a time, in the order of completion.

    Args:
        configs: the settings; workers take them in turn.
        prompts: the input.
        seed: the seed of the job.
        done: the numbers of the rows to skip.
        build: builds the ICDPO in a worker.
        workers: the maximum number of workers.
        chunk: the number of rows per chunk.

    Raises:
        ICDPOError: a worker can't go on.
    """
    resources = ray.cluster_resources()
    gpus, cpus = int(resources.get("GPU", 0)), resources.get("CPU", 1)
    nodes = sum(node["Alive"] for node in ray.nodes())
    on_server = configs[0].model_dump().get("vllm") is not None
    needs: dict[str, Any] = {"num_cpus": 1}
    if on_server:
        workers = workers or max(nodes, len(configs))
    elif gpus:
        workers = workers or gpus
        needs = {"num_gpus": 1}
    else:
        workers = workers or nodes
        # Ray gives an actor one thread per CPU.
        needs = {"num_cpus": max(1, int(cpus // workers))}
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = 1  # one block per row
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    turns = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Turns).remote(len(configs))
    with DataContext.current(context):
        answers = ray.data.read_datasource(
            _Chunks(prompts, ray.put(done), chunk), override_num_blocks=1, num_cpus=0
        ).map_batches(
            _Worker,
            fn_constructor_args=(configs, build, seed, turns),
            batch_size=1,
            # Chunks that wait at a worker die with it.
            compute=ActorPoolStrategy(min_size=1, max_size=workers, max_tasks_in_flight_per_actor=2),
            **needs,
        )
    for row in answers.iter_rows():
        answer = json.loads(row[_ANSWERS])
        if isinstance(answer, dict):
            kind = getattr(errors, answer["type"], errors.ICDPOError)
            raise kind(f"a worker can't go on: {answer['type']}: {answer['message']}")
        yield answer


class _Chunks(Datasource):  # type: ignore[misc]  # Ray has no types
    """The input; one task reads it lazily on the driver's node, the only node that needs the file."""

    def __init__(self, path: Path, done: ray.ObjectRef, size: int) -> None:
        self._path, self._done, self._size = path, done, size

    @property
    def supports_distributed_reads(self) -> bool:
        return False

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        path, ref, size = self._path, self._done, self._size

        def read() -> Iterator[pa.Table]:
            done = ray.get(ref)
            rows = (row for row in job_rows(path) if row.number not in done)
            for some in chunks(rows, size):
                yield pa.table({_ROWS: [json.dumps([row.to_dict() for row in some])]})

        return [ReadTask(read, BlockMetadata(None, None, None, None))]


class _Worker:
    """An actor with an ICDPO of its own.

    An error that is not a row's is returned to the driver instead of raised, because Ray would wrap it.
    """

    def __init__(
        self,
        configs: Sequence[ICDPOConfig],
        build: Callable[[ICDPOConfig], ICDPO],
        seed: int,
        turns: Any,
    ) -> None:
        self._seed = seed
        self._icdpo: ICDPO | Exception
        try:
            self._icdpo = build(configs[ray.get(turns.next.remote())])
        except Exception as error:
            self._icdpo = error

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
        return {_ANSWERS: [json.dumps(self._answers(text)) for text in batch[_ROWS]]}

    def _answers(self, text: str) -> Any:
        try:
            if isinstance(self._icdpo, Exception):
                raise self._icdpo
            rows = [JobRow.from_dict(fields) for fields in json.loads(text)]
            return answer_rows(self._icdpo, rows, self._seed)
        except Exception as error:
            return {"type": type(error).__name__, "message": str(error)}


class _Turns:
    """An actor that hands out the servers in turn."""

    def __init__(self, count: int) -> None:
        self._turns = itertools.cycle(range(count))

    def next(self) -> int:
        return next(self._turns)
