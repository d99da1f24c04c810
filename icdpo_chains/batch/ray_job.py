"""`run_ray_job`: a data set of prompts through ICDPO, on Ray Data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from icdpo_chains.batch.job import MAX_CHUNK, JobReport, open_output, with_own_store, write_all
from icdpo_chains.config import ICDPOConfig
from icdpo_chains.errors import ICDPOError
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.policies.sampling import check_count

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

    Each worker is an actor that builds its ICDPO once. The input is read where this is called, no faster than
    the workers answer; the output is written there as well. A worker or a node that dies is replaced as far
    as the cluster can, and what it was answering is answered again. Either way of running goes on with a job
    that the other began.

    A cluster that is connected to already is used. Otherwise one is connected to, or started on this machine
    (on its loopback address, without a dashboard) and stopped at the end.

    Args:
        configs: the settings. Several are a pool of vLLM servers: they differ in `vllm` alone, and the
            workers take them in turn.
        prompts: as `run_batch_job`; only the node where this runs reads it.
        out: likewise.
        build: makes the ICDPO, in each worker: a function that can be pickled.
        workers: how many at most; by default one a GPU, or else one a node, or one a server.
        address: of a Ray cluster, `"auto"` for the one on this machine.
        chunk: as `run_batch_job`.
        retry_failed: likewise.
        on_progress: likewise.

    Raises:
        ICDPOError: Ray is not installed or not reached; or as `run_batch_job`.
        OSError, TypeError, ValueError: as `run_batch_job`.
    """
    check_count(chunk, "chunk", MAX_CHUNK)
    if workers is not None:
        check_count(workers, "workers", _MOST_WORKERS)
    configs = [configs] if isinstance(configs, ICDPOConfig) else list(configs)
    if not configs:
        raise ValueError("configs is empty: give the settings, or one for each server")
    first, *others = (config.model_copy(update={"vllm": None}) for config in configs)
    if any(other != first for other in others):
        raise ValueError("configs differ in more than the server (vllm): answers would depend on the worker")
    try:
        from icdpo_chains.batch.ray_dataset import ray_answers, ray_cluster
    except ImportError as error:
        raise ICDPOError(f'Ray is not installed ({error}): pip install "icdpo-chains[ray]"') from None

    with open_output(configs[0], prompts, out, retry_failed=retry_failed) as output:
        if len(output.done) == output.rows:
            return write_all(output, [], on_progress)
        with ray_cluster(address):
            answers = ray_answers(
                [with_own_store(config) for config in configs],
                Path(prompts).absolute(),
                seed=output.seed,
                done=output.done,
                build=build,
                workers=workers,
                chunk=chunk,
            )
            return write_all(output, answers, on_progress)
