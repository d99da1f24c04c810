"""`run_batch_job`: a data set of prompts through ICDPO, on one machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from icdpo_chains.batch.answering import answer_rows
from icdpo_chains.batch.input import count_rows, fingerprint, job_rows
from icdpo_chains.batch.output import JobOutput
from icdpo_chains.config import ICDPOConfig
from icdpo_chains.errors import ICDPOError
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.policies.sampling import check_count

__all__ = ["MAX_CHUNK", "JobReport", "chunks", "open_output", "run_batch_job", "with_own_store", "write_all"]

MAX_CHUNK = 10_000

T = TypeVar("T")


@dataclass(frozen=True)
class JobReport:
    """How far a job is.

    Attributes:
        rows: how many the input has.
        already_there: how many of them an earlier run had written.
        added: how many this run has written, failed ones included.
        failed: how many of those in the output hold an error, whoever wrote them.
        seconds: that this run has taken.
    """

    rows: int
    already_there: int
    added: int = 0
    failed: int = 0
    seconds: float = 0.0

    @property
    def rows_per_minute(self) -> float:
        """What this run writes."""
        return 60 * self.added / self.seconds if self.seconds else 0.0

    @property
    def minutes_left(self) -> float | None:
        """How long the rest takes at this pace, as far as that can be said."""
        rest = self.rows - self.already_there - self.added
        return rest / self.rows_per_minute if self.added else None


def run_batch_job(
    config: ICDPOConfig,
    prompts: str | Path,
    out: str | Path,
    *,
    build: Callable[[ICDPOConfig], ICDPO] = ICDPO.from_config,
    chunk: int = 16,
    retry_failed: bool = False,
    on_progress: Callable[[JobReport], None] | None = None,
) -> JobReport:
    """Answers each prompt of a file, and writes a line a row to another.

    Killed at any point, the same call goes on: nothing is done twice, and nothing lost. With other settings,
    or another input, it refuses to. A row that fails is written with its error; what is wrong with model,
    store or disk stops the job, which goes on when it is called again. Each row's candidates are drawn by a
    seed of its own, made of the job's and the row's number, so that its answer depends on nothing else.

    Args:
        config: the settings; their seed is the job's. Without one, it is drawn once and kept with the output.
        prompts: a file that `read_prompts` reads.
        out: the output, `.jsonl`; see `docs/guides/batch.md` for what a line holds.
        build: makes the ICDPO, once there is something to do. One that is there already: `lambda _: icdpo`.
        chunk: how many rows are answered together, and written at once.
        retry_failed: the rows that failed in an earlier run are done again.
        on_progress: called after each chunk.

    Raises:
        InvalidInputError: the input holds no prompt; or the output is of a job with other settings, of no
            job, or being written.
        PolicyError, StoreError, WeightsError, NoDemonstrationsError: model or store can't be used.
        ICDPOError: the output can't be written.
        UnknownFormatError, OSError: the input can't be read.
        TypeError, ValueError: an argument that can't be used.
    """
    check_count(chunk, "chunk", MAX_CHUNK)
    with open_output(config, prompts, out, retry_failed=retry_failed) as output:

        def answered() -> Iterator[list[dict[str, Any]]]:
            icdpo: ICDPO | None = None
            rows = (row for row in job_rows(prompts) if row.number not in output.done)
            for some in chunks(rows, chunk):
                icdpo = icdpo or build(config)
                yield answer_rows(icdpo, some, output.seed)

        return write_all(output, answered(), on_progress)


def open_output(
    config: ICDPOConfig, prompts: str | Path, out: str | Path, *, retry_failed: bool
) -> JobOutput:
    """Opens the output of a new job, or of one that is gone on with; as `run_batch_job`."""
    settings = with_own_store(config).model_dump(mode="json", exclude={"note", "device"})
    # Where the model runs may change in the middle of a job.
    settings["vllm"] = settings.get("vllm") is not None
    settings["seed"] = settings["sampling"].pop("seed")
    settings["prompts"] = fingerprint(prompts)
    return JobOutput(out, settings, lambda: count_rows(prompts), retry_failed=retry_failed)


def with_own_store(config: ICDPOConfig) -> ICDPOConfig:
    """Returns the settings with a store that means the same in any directory."""
    if config.store is None or "://" in config.store:
        return config
    return config.model_copy(update={"store": str(Path(config.store).expanduser().absolute())})


def write_all(
    output: JobOutput,
    records: Iterable[Sequence[dict[str, Any]]],
    on_progress: Callable[[JobReport], None] | None,
) -> JobReport:
    """Writes records as they come, and says how far that is.

    Raises:
        ICDPOError: the output can't be written, or rows are missing at the end.
    """
    began, there = time.perf_counter(), len(output.done)
    report = JobReport(output.rows, there, failed=output.failed)
    for some in records:
        output.append(some)
        report = replace(
            report,
            added=len(output.done) - there,
            failed=output.failed,
            seconds=time.perf_counter() - began,
        )
        if on_progress is not None:
            on_progress(report)
    missing = output.rows - len(output.done)
    if missing:
        raise ICDPOError(
            f"{missing} of {output.rows} rows did not come back: run the same again, which does them"
        )
    return report


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yields the items in lists of `size`; the last may be shorter."""
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some
