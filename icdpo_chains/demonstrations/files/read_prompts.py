"""`read_prompts`, `read_prompt_rows`: the prompts of a file, with or without answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files.byte_source import ByteSource, as_utf8
from icdpo_chains.demonstrations.files.json_rows import json_rows
from icdpo_chains.demonstrations.files.read import RefusedRow, read_demonstrations
from icdpo_chains.demonstrations.files.shapes import prompt_row, read_row
from icdpo_chains.demonstrations.files.shapes.outcome import Ballot, Pointed, Vote
from icdpo_chains.demonstrations.files.text_lines import TextLines, check_utf8
from icdpo_chains.errors import DemonstrationError
from icdpo_chains.messages import Message

__all__ = ["REQUESTS", "read_prompt_rows", "read_prompts", "row_id"]

REQUESTS = {"/v1/chat/completions": "messages", "/v1/completions": "prompt"}
"""The requests in OpenAI's batch files that can be answered, and the field of the prompt."""

_READERS: dict[str, Callable[[ByteSource], Iterator[tuple[int, Any]]]] = {
    ".txt": lambda source: _text_rows(source),
    ".jsonl": lambda source: json_rows(source, may_span_lines=False),
    ".ndjson": lambda source: json_rows(source, may_span_lines=False),
    ".json": lambda source: json_rows(source, may_span_lines=True),
}


def read_prompts(
    path: str | os.PathLike[str], *, on_refused: Callable[[RefusedRow], None]
) -> Iterator[str | tuple[Message, ...]]:
    """Reads prompts lazily.

    In `.txt`, each line that is not blank is a prompt. In `.jsonl`, `.ndjson` and `.json`, a row contains a
    prompt in any shape of `read_demonstrations`. No answers are needed in a row with a `prompt` (a string, or
    messages), `messages` or ShareGPT's `conversations`, or in a line for OpenAI's batch endpoint
    (`{"custom_id": ..., "url": ..., "body": {"messages": ...}}`). Other files are preference files with
    answers. All files may be compressed (`.gz`).

    Args:
        path: the file.
        on_refused: called with each refused row.

    Yields:
        Prompts as `Demonstration.prompt` has them.

    Raises:
        FileNotFoundError: there is no such file.
        UnknownFormatError: the format is unknown.
        OSError: the file can't be opened or read.
    """
    return (row.prompt for row in read_prompt_rows(path, on_refused=on_refused))


def read_prompt_rows(
    path: str | os.PathLike[str], *, on_refused: Callable[[RefusedRow], None]
) -> Iterator[Demonstration]:
    """`read_prompts` with the other columns as metadata; the answers have no meaning."""
    file = Path(path)
    suffix = Path(file.name.lower().removesuffix(".gz")).suffix
    if file.is_dir() or suffix not in _READERS:
        yield from read_demonstrations(path, on_refused=on_refused)
        return
    with ByteSource(file) as source:
        text, _ = as_utf8(source, table=False)
        for line, row in _READERS[suffix](text):
            try:
                if isinstance(row, DemonstrationError):
                    raise row
                yield _demonstration(row)
            except DemonstrationError as error:
                on_refused(RefusedRow(str(file), line, str(error), row_id(row)))


def row_id(row: object) -> str | int | None:
    """Returns the `custom_id` or the `id` of a row or of its metadata, if it has one."""
    if not isinstance(row, Mapping):
        return None
    return next((row[name] for name in ("custom_id", "id") if isinstance(row.get(name), (str, int))), None)


def _demonstration(row: object) -> Demonstration:
    if isinstance(row, Mapping) and isinstance(row.get("body"), Mapping) and "url" in row:
        row = _from_request(row)
    # The answer does not matter, but a demonstration must have one.
    found = prompt_row(row) if isinstance(row, Mapping) else None
    if found is not None:
        return found
    for outcome in read_row(row).outcomes:
        if isinstance(outcome, Demonstration):
            return outcome
        if isinstance(outcome, Ballot):
            return outcome.first
        if isinstance(outcome, Pointed) and (pairs := outcome.from_zero or outcome.from_one):
            return pairs[0]
        if isinstance(outcome, Vote):
            return Demonstration(outcome.prompt, outcome.answer, None, outcome.metadata)
    raise DemonstrationError("the row states no preference, and has no column 'prompt'")


def _from_request(row: Mapping[str, Any]) -> dict[str, Any]:
    """The prompt of a line for OpenAI's batch endpoint; the metadata contain its address, under `request`."""
    body, url = row["body"], row["url"]
    field = REQUESTS.get(url) if isinstance(url, str) else None
    if field is None:
        raise DemonstrationError(f"a request to {url!r:.60} has no answer here: use {' or '.join(REQUESTS)}")
    if body.get(field) is None:
        raise DemonstrationError(f"the body of the request to {url} has no {field!r}")
    metadata = {"request": url}
    if (own := row_id(row)) is not None:
        metadata["custom_id"] = own
    return {"prompt": body[field], "metadata": metadata}


def _text_rows(source: ByteSource) -> Iterator[tuple[int, Any]]:
    lines = TextLines(source)
    while True:
        row: Any
        try:
            row = {"prompt": next(lines).strip()}
            check_utf8(row["prompt"])
        except StopIteration:
            break
        except DemonstrationError as error:
            row = error
        if row != {"prompt": ""}:
            yield lines.number, row
    if source.broken:
        yield lines.number + 1, DemonstrationError(source.broken)
