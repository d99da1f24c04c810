"""A batch job on a slow fake policy, in a process of its own.

    fake_job.py {local,ray,cluster} IN OUT [--kill {worker,node}] [--seconds 0.2]

`cluster` is a Ray cluster of two nodes on this machine, of which something is killed in the middle.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from icdpo_chains import ICDPO, Demonstration, FakePolicy, FixedDemonstrations, ICDPOConfig, SamplingParams
from icdpo_chains.batch.job import JobReport, run_batch_job
from icdpo_chains.batch.ray_job import run_ray_job
from icdpo_chains.errors import ICDPOError
from icdpo_chains.policies.sampling import Sample

DEMONSTRATIONS = [
    Demonstration("I failed my exam.", "I am sorry to hear that.", "Your own fault."),
    Demonstration("My cat is ill.", "I am sorry. Would you like to talk?", "Whatever, deal with it."),
]
MEMORY = 100 * 2**20


class SlowPolicy(FakePolicy):
    """Takes its time; its name says which server, or process, it is in."""

    def __init__(self, seconds: float, server: str | None) -> None:
        super().__init__(name=server or str(os.getpid()))
        self._seconds = seconds

    def sample(self, context: Sequence[int], n: int, sampling: SamplingParams) -> list[Sample]:
        time.sleep(self._seconds)
        return super().sample(context, n, sampling)


def build(config: ICDPOConfig, seconds: float) -> ICDPO:
    sampling = SamplingParams(max_new_tokens=12, min_new_tokens=4)
    if config.model == "missing":
        raise ICDPOError("the model 'missing' is not found")
    policy = SlowPolicy(seconds, config.vllm)
    return ICDPO(policy, FixedDemonstrations(DEMONSTRATIONS, k=2), n=config.n, sampling=sampling)


@contextlib.contextmanager
def two_nodes() -> Iterator[Any]:
    """A cluster, and the second of its nodes, which is not the one that the job is started on."""
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 2, "object_store_memory": MEMORY}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        second = cluster.add_node(**node)
        cluster.wait_for_nodes()
        ray.init(cluster.address, log_to_driver=False)
        yield cluster, second
    finally:
        ray.shutdown()
        cluster.shutdown()


def killing(out: Path, rows: int, kill: Callable[[], None]) -> Callable[[JobReport], None]:
    """Kills when so many rows are there, once; prints how many rows there are."""
    killed = False

    def on_progress(report: JobReport) -> None:
        nonlocal killed
        print(report.added, flush=True)
        if not killed and report.added >= rows:
            killed = True
            kill()

    return on_progress


def kill_worker(out: Path) -> None:
    *_, last = out.read_text().splitlines()
    pid = int(json.loads(last)["icdpo"]["model"])
    os.kill(pid, signal.SIGKILL)
    print(f"killed {pid}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("how", choices=["local", "ray", "cluster"])
    parser.add_argument("prompts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kill", choices=["worker", "node"])
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--file-size", type=int)
    parser.add_argument("--model")
    parser.add_argument("--vllm", action="append", default=[])
    options = parser.parse_args()
    if options.file_size:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (options.file_size, options.file_size))
    config = ICDPOConfig(n=2, model=options.model).changed({"seed": 7})
    job: dict[str, Any] = {"build": partial(build, seconds=options.seconds), "chunk": 4}
    show = killing(options.out, 10**9, lambda: None)
    try:
        if options.how == "local":
            report = run_batch_job(config, options.prompts, options.out, on_progress=show, **job)
        elif options.how == "ray":
            pool = [config.changed({"vllm": url}) for url in options.vllm] or config
            report = run_ray_job(pool, options.prompts, options.out, workers=2, on_progress=show, **job)
        else:
            with two_nodes() as (cluster, second):
                kill = {
                    "worker": lambda: kill_worker(options.out),
                    "node": lambda: cluster.remove_node(second, allow_graceful=False),
                }[options.kill]
                report = run_ray_job(
                    config,
                    options.prompts,
                    options.out,
                    workers=4,
                    on_progress=killing(options.out, 60, kill),
                    **job,
                )
    except ICDPOError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        raise SystemExit(1) from None
    print(f"done {report.rows} {report.added} {report.failed}", flush=True)


if __name__ == "__main__":
    main()
