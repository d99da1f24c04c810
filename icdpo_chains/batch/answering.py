"""`answer_rows`: turns a chunk of a batch job's rows into records of its output."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from icdpo_chains.answering import Each, sample_each, score_each
from icdpo_chains.batch.input import JobRow
from icdpo_chains.batch.openai_response import openai_response
from icdpo_chains.errors import (
    NoDemonstrationsError,
    PolicyError,
    PolicyMemoryError,
    StoreError,
    WeightsError,
)
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.question import Question
from icdpo_chains.result import ICDPOResult

__all__ = ["answer_rows", "row_seed"]

_THREADS = 8
# These errors would fail every row: a job of a million must not end with a million failures.
_OF_THE_MACHINE = (PolicyError, StoreError, WeightsError, NoDemonstrationsError, MemoryError, OSError)
# By name, because torch may be absent.
_OF_THE_DEVICE = {"OutOfMemoryError", "AcceleratorError"}


def answer_rows(icdpo: ICDPO, rows: Sequence[JobRow], seed: int) -> list[dict[str, Any]]:
    """Answers rows; samples their candidates together if the policy can.

    A row's answer depends only on the seed and the row, not on the other rows, the worker or the time.

    Args:
        icdpo: the ICDPO that answers.
        rows: the rows; an unusable row becomes a record of its error.
        seed: the seed of the job.

    Returns:
        One record of JSON values per row, in order: `row`, `id` and `prompt` with `response` and `icdpo`, or
        with `error`.

    Raises:
        PolicyError, StoreError, WeightsError, NoDemonstrationsError, MemoryError, OSError: the fault is not
            the row's. If the memory can't hold a row, the fault is the row's as long as it holds others.
    """

    def ask(row: JobRow) -> Question:
        found = icdpo.retrieve(row.prompt)
        return icdpo.ask(row.prompt, found, seed=row_seed(seed, row.number))

    usable = [row for row in rows if row.refused is None]
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="icdpo-batch") as threads:
        each = Each(_of_the_row, threads.map)
        drafts = sample_each(icdpo, each, each(ask, usable))
        results = dict(zip(usable, score_each(icdpo, each, drafts), strict=True))
    if not any(isinstance(result, ICDPOResult) for result in results.values()):
        for result in results.values():
            if isinstance(result, PolicyMemoryError):
                raise result
    return [_record(row, results.get(row)) for row in rows]


def row_seed(seed: int, number: int) -> int:
    """Returns the seed of one row, from 0 to 2**48 - 1 (which every JSON reader keeps exactly).

    Args:
        seed: the seed of the job.
        number: the number of the row.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode("ascii")).digest()[:6], "big")


def _of_the_row(error: Exception) -> bool:
    if isinstance(error, PolicyMemoryError):
        return True
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return not isinstance(error, _OF_THE_MACHINE) and not _OF_THE_DEVICE & kinds


def _record(row: JobRow, result: ICDPOResult | Exception | None) -> dict[str, Any]:
    record = {"row": row.number, "id": row.number if row.id is None else row.id}
    if row.id is not None:
        record["custom_id"] = row.id
    if row.refused is not None:
        error = {"type": "DemonstrationError", "message": row.refused}
        return {**record, "line": row.line, "error": error}
    record["prompt"] = row.to_dict()["prompt"]
    if isinstance(result, ICDPOResult):
        table = {**result.score_table(), "seed": result.seed, "model": result.model}
        if row.request is not None:
            return {**record, "response": openai_response(row, result), "error": None, "icdpo": table}
        return {**record, "response": result.text, "icdpo": table}
    return {**record, "error": {"type": type(result).__name__, "message": str(result)}}
