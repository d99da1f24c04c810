"""`run_batch_job`: answers a data set of prompts on one machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from icdpo_chains.batch.answering import answer_rows
from icdpo_chains.batch.input import count_rows, job_rows
from icdpo_chains.batch.output import JobOutput
from icdpo_chains.batch.snapshot import input_snapshot
from icdpo_chains.config import ICDPOConfig
from icdpo_chains.errors import ICDPOError
from icdpo_chains.foundation.checksum import sha256_of
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.icdpo import ICDPO

__all__ = ["MAX_CHUNK", "JobReport", "chunks", "open_output", "run_batch_job", "with_own_store", "write_all"]

MAX_CHUNK = 10_000

T = TypeVar("T")


@dataclass(frozen=True)
class JobReport:
    """The progress of a job.

    Attributes:
        rows: the number of rows in the input.
        already_there: rows written by earlier runs.
        added: rows written by this run, failed rows included.
        failed: rows in the output that contain an error, from any run.
        seconds: the duration of this run so far.
    """

    rows: int
    already_there: int
    added: int = 0
    failed: int = 0
    seconds: float = 0.0

    @property
    def rows_per_minute(self) -> float:
        """The rows that this run writes per minute."""
        return 60 * self.added / self.seconds if self.seconds else 0.0

    @property
    def minutes_left(self) -> float | None:
        """The estimated time for the remaining rows; `None` while it is unknown."""
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
    """Answers each prompt of a file, and writes one line per row to another file.

    After a kill at any point, the same call continues: no row is written twice, and none is lost. The call
    refuses to continue with other settings or another input. A failed row is written with its error. A fault
    of the model, store or disk stops the job; the same call continues it. Each row has its own seed, derived
    from the job's seed and the row's number, so its answer does not depend on other rows.

    Args:
        config: the settings; their seed is the job's. A missing seed is drawn once and kept with the output.
        prompts: a file that `read_prompts` reads.
        out: the output, `.jsonl`; `docs/guides/batch.md` describes its lines.
        build: builds the ICDPO, when the first row needs it. For an existing ICDPO: `lambda _: icdpo`.
        chunk: the number of rows to answer and write together.
        retry_failed: answer the rows again that failed in an earlier run.
        on_progress: called after each chunk.

    Raises:
        InvalidInputError: the input has no prompt or is not a regular file; or the output belongs to a job
            with other settings, to no job, or to a running job.
        PolicyError, StoreError, WeightsError, NoDemonstrationsError: the model or the store is unusable.
        ICDPOError: the output can't be written.
        UnknownFormatError, OSError: the input can't be read.
        TypeError, ValueError: an argument is wrong.
    """
    check_count(chunk, "chunk", MAX_CHUNK)
    with (
        input_snapshot(prompts) as copy,
        open_output(config, prompts, copy, out, retry_failed=retry_failed) as output,
    ):

        def answered() -> Iterator[list[dict[str, Any]]]:
            icdpo: ICDPO | None = None
            rows = (row for row in job_rows(copy) if row.number not in output.done)
            for some in chunks(rows, chunk):
                icdpo = icdpo or build(config)
                yield answer_rows(icdpo, some, output.seed)

        return write_all(output, answered(), on_progress)


def open_output(
    config: ICDPOConfig, prompts: str | Path, copy: Path, out: str | Path, *, retry_failed: bool
) -> JobOutput:
    """Opens the output of a job whose input is copied to `copy`; raises as `run_batch_job`."""
    settings = with_own_store(config).model_dump(mode="json", exclude={"note", "device"})
    # The place where the model runs may change during a job.
    settings["vllm"] = settings.get("vllm") is not None
    settings["seed"] = settings["sampling"].pop("seed")
    settings["prompts"] = sha256_of(copy)
    return JobOutput(out, settings, lambda: count_rows(copy, name=prompts), retry_failed=retry_failed)


def with_own_store(config: ICDPOConfig) -> ICDPOConfig:
    """Returns the settings with a store whose place does not depend on the working directory."""
    if config.store is None or "://" in config.store:
        return config
    return config.model_copy(update={"store": str(Path(config.store).expanduser().absolute())})


def write_all(
    output: JobOutput,
    records: Iterable[Sequence[dict[str, Any]]],
    on_progress: Callable[[JobReport], None] | None,
) -> JobReport:
    """Writes records as they arrive, and reports the progress.

    Raises:
        ICDPOError: the output can't be written or was changed, or rows are missing at the end.
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
    output.check()
    missing = output.rows - len(output.done)
    if missing:
        raise ICDPOError(
            f"{missing} of {output.rows} rows did not come back: run the same command again to answer them"
        )
    return report


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yields the items in lists of `size`; the last may be shorter."""
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some
