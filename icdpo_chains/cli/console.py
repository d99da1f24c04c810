"""Output of the command: answers go to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from icdpo_chains.foundation.printable import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from icdpo_chains.progress import OnProgress, Progress
    from icdpo_chains.result import ICDPOResult

__all__ = [
    "console",
    "cut_off_line",
    "error_line",
    "on_stage",
    "say",
    "working",
    "write_json",
    "write_piece",
    "write_text",
]


def console(*, stderr: bool = False) -> Console:
    """Returns a Rich console on the current standard output or standard error."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def write_text(text: str) -> None:
    """Writes a text: unchanged to a pipe or file, with visible control characters to a terminal."""
    write_piece(f"{text}\n")


def write_piece(text: str) -> None:
    """Writes part of a text immediately; see `write_text`."""
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def write_json(value: Any) -> None:
    """Writes JSON in ASCII, which is valid in every encoding of a pipe."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False) + "\n")


def cut_off_line(result: ICDPOResult, max_tokens: int) -> None:
    """Says on standard error that an answer ended at `--max-tokens`, if it did."""
    if result.best.finish_reason == "length":
        error_line(f"the answer is cut off at --max-tokens {max_tokens}: allow more")


def error_line(message: str) -> None:
    """Writes an error as one line to standard error."""
    sys.stderr.write(f"icdpo: {printable(' '.join(message.split()))}\n")


def say(line: str) -> None:
    """Writes a line of the command's own to standard error."""
    sys.stderr.write(f"icdpo: {line}\n")
    sys.stderr.flush()


@contextmanager
def working(what: str) -> Iterator[Status]:
    """Shows a status line during the work, if standard error is a terminal."""
    with console(stderr=True).status(what) as status:
        yield status


def on_stage(status: Status) -> OnProgress:
    """Returns a progress callback that shows the next stage."""
    following = {"retrieved": "Sampling candidates ...", "sampled": "Scoring them ..."}

    def show(progress: Progress) -> None:
        status.update(following.get(progress.stage, "Done"))

    return show
