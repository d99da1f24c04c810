"""`job_rows`: the rows of a batch job's input, numbered."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icdpo_chains.demonstrations.files.read import RefusedRow
from icdpo_chains.demonstrations.files.read_prompts import REQUESTS, read_prompt_rows, row_id
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.messages import Message, as_message

__all__ = ["JobRow", "count_rows", "job_rows"]


@dataclass(frozen=True, slots=True)
class JobRow:
    """One row of the input.

    Attributes:
        number: the row's number, from 1; unusable rows count as well.
        prompt: the prompt to answer; `""` for an unusable row.
        id: the row's own `custom_id` or `id`, if any.
        refused: the reason why the row is unusable.
        line: the position of an unusable row in its file, see `RefusedRow`.
        request: the address of a request in OpenAI's form, whose answer has OpenAI's form too.
    """

    number: int
    prompt: str | tuple[Message, ...] = ""
    id: str | int | None = None
    refused: str | None = None
    line: int | None = None
    request: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values; `from_dict` builds an equal row from them."""
        prompt: Any = self.prompt
        if not isinstance(prompt, str):
            prompt = [message.to_dict() for message in prompt]
        return {
            "number": self.number,
            "prompt": prompt,
            "id": self.id,
            "refused": self.refused,
            "line": self.line,
            "request": self.request,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> JobRow:
        """Builds a row from the values of `to_dict`."""
        prompt = fields["prompt"]
        if not isinstance(prompt, str):
            prompt = tuple(as_message(message, i) for i, message in enumerate(prompt))
        return cls(**{**fields, "prompt": prompt})


def job_rows(path: str | Path) -> Iterator[JobRow]:
    """Reads rows lazily, from any file that `read_prompts` reads.

    Args:
        path: the file.

    Raises:
        UnknownFormatError, OSError: see `read_prompts`.
    """
    refused: deque[RefusedRow] = deque()
    rows = read_prompt_rows(path, on_refused=refused.append)
    number = 0
    while True:
        found = next(rows, None)
        while refused:  # refused rows precede the prompt in the file
            number, row = number + 1, refused.popleft()
            yield JobRow(number, id=row.id, refused=row.reason, line=row.line)
        if found is None:
            return
        number += 1
        request = found.metadata.get("request")
        yield JobRow(
            number,
            found.prompt,
            row_id(found.metadata),
            request=request if isinstance(request, str) and request in REQUESTS else None,
        )


def count_rows(path: str | Path, *, name: str | Path | None = None) -> int:
    """Returns the number of rows.

    Args:
        path: the file.
        name: the file's name in errors; by default the path.

    Raises:
        InvalidInputError: no row is usable.
        UnknownFormatError, OSError: see `read_prompts`.
    """
    count, usable, reason = 0, False, ""
    for row in job_rows(path):
        count += 1
        usable = usable or row.refused is None
        if row.refused is not None and not reason:
            reason = f"; row {row.number}, line {row.line}: {row.refused}"
    if not usable:
        raise InvalidInputError(f"{name or path} has no usable prompt{reason}")
    return count
