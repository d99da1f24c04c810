"""`job_rows`: the rows of a batch job's input, numbered."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icdpo_chains.demonstrations.files.prompts import read_prompt_rows
from icdpo_chains.demonstrations.files.read import RefusedRow
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.messages import Message

__all__ = ["JobRow", "count_rows", "fingerprint", "job_rows"]

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class JobRow:
    """One row of the input.

    Attributes:
        number: which one, from 1; rows that can't be used count as well.
        prompt: what is to be answered; `""` if the row can't be used.
        id: what the input calls it (`custom_id` or `id`), if anything.
        refused: why it can't be used.
        line: where such a row stands in its file, see `RefusedRow`.
    """

    number: int
    prompt: str | tuple[Message, ...] = ""
    id: str | int | None = None
    refused: str | None = None
    line: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values, from which `from_dict` builds an equal row."""
        prompt: Any = self.prompt
        if not isinstance(prompt, str):
            prompt = [message.to_dict() for message in prompt]
        return {
            "number": self.number,
            "prompt": prompt,
            "id": self.id,
            "refused": self.refused,
            "line": self.line,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> JobRow:
        """Builds what `to_dict` was called on."""
        prompt = fields["prompt"]
        if not isinstance(prompt, str):
            prompt = tuple(Message(**message) for message in prompt)
        return cls(**{**fields, "prompt": prompt})


def job_rows(path: str | Path) -> Iterator[JobRow]:
    """Reads the rows of any file that `read_prompts` reads, lazily.

    Args:
        path: the file.

    Raises:
        UnknownFormatError, OSError: as `read_prompts`.
    """
    refused: deque[RefusedRow] = deque()
    rows = read_prompt_rows(path, on_refused=refused.append)
    number = 0
    while True:
        found = next(rows, None)
        while refused:  # they stand before the prompt
            number, row = number + 1, refused.popleft()
            yield JobRow(number, refused=row.reason, line=row.line)
        if found is None:
            return
        number += 1
        named = (found.metadata.get(name) for name in ("custom_id", "id"))
        yield JobRow(number, found.prompt, next((id_ for id_ in named if isinstance(id_, (str, int))), None))


def count_rows(path: str | Path) -> int:
    """Returns how many rows there are.

    Raises:
        InvalidInputError: none of them can be used.
        UnknownFormatError, OSError: as `read_prompts`.
    """
    count, usable, reason = 0, False, ""
    for row in job_rows(path):
        count += 1
        usable = usable or row.refused is None
        if row.refused is not None and not reason:
            reason = f"; row {row.number}, line {row.line}: {row.refused}"
    if not usable:
        raise InvalidInputError(f"{path} holds no prompt that can be used{reason}")
    return count


def fingerprint(path: str | Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        OSError: it can't be read.
    """
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
