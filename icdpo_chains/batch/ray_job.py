"""`run_ray_job`: answers a data set of prompts on Ray Data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from icdpo_chains.batch.job import MAX_CHUNK, JobReport, open_output, with_own_store, write_all
from icdpo_chains.batch.snapshot import input_snapshot
from icdpo_chains.config import ICDPOConfig
from icdpo_chains.errors import ICDPOError
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.icdpo import ICDPO

__all__ = ["run_ray_job"]

_MOST_WORKERS = 10_000


def run_ray_job(
    configs: ICDPOConfig | Sequence[ICDPOConfig],
    prompts: str | Path,
    out: str | Path,
    *,
    build: Callable[[ICDPOConfig], ICDPO] = ICDPO.from_config,
    workers: int | None = None,
    address: str | None = None,
    chunk: int = 16,
    retry_failed: bool = False,
    on_progress: Callable[[JobReport], None] | None = None,
) -> JobReport:
    """`run_batch_job` with many workers: the same output but for the order of its rows.

    Each worker is an actor that builds its ICDPO once. The calling node reads the input, only as fast as the
    workers answer, and writes the output. A worker or a node that dies is replaced if the cluster can, and
    its rows are answered again. `run_batch_job` and `run_ray_job` continue each other's jobs.

    An existing connection to a cluster is used. Otherwise the job connects to `address`, or starts a cluster
    on this machine (on its loopback address, without a dashboard) and stops it at the end.

    Args:
        configs: the settings. Several are a pool of vLLM servers: they differ only in `vllm`, and the workers
            take them in turn.
        prompts: as in `run_batch_job`; only the calling node reads it.
        out: as in `run_batch_job`; only the calling node writes it.
        build: builds the ICDPO in each worker: a function that can be pickled.
        workers: the maximum number of workers; by default one per GPU, else one per node, or one per server.
        address: the address of a Ray cluster, `"auto"` for the one on this machine.
        chunk: as in `run_batch_job`.
        retry_failed: as in `run_batch_job`.
        on_progress: as in `run_batch_job`.

    Raises:
        ICDPOError: Ray is not installed or unreachable; or as `run_batch_job`.
        OSError, TypeError, ValueError: as `run_batch_job`.
    """
    check_count(chunk, "chunk", MAX_CHUNK)
    if workers is not None:
        check_count(workers, "workers", _MOST_WORKERS)
    configs = [configs] if isinstance(configs, ICDPOConfig) else list(configs)
    if not configs:
        raise ValueError("configs is empty: give the settings, or one configuration per server")
    first, *others = (config.model_copy(update={"vllm": None}) for config in configs)
    if any(other != first for other in others):
        raise ValueError("configs differ in more than the server (vllm): answers would depend on the worker")
    try:
        from icdpo_chains.batch.ray_dataset import ray_answers, ray_cluster
    except ImportError as error:
        raise ICDPOError(f'Ray is not installed ({error}): pip install "icdpo-chains[ray]"') from None

    with (
        input_snapshot(prompts) as copy,
        open_output(configs[0], prompts, copy, out, retry_failed=retry_failed) as output,
    ):
        if len(output.done) == output.rows:
            return write_all(output, [], on_progress)
        with ray_cluster(address):
            answers = ray_answers(
                [with_own_store(config) for config in configs],
                copy,
                seed=output.seed,
                done=output.done,
                build=build,
                workers=workers,
                chunk=chunk,
            )
            return write_all(output, answers, on_progress)
