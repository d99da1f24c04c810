"""Where the command writes: answers to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from icdpo_chains.progress import OnProgress, Progress

__all__ = [
    "console",
    "error_line",
    "on_stage",
    "printable",
    "working",
    "write_json",
    "write_piece",
    "write_text",
]

# Control characters could move the cursor, or retitle the terminal: a model's text may not.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
_PICTURES |= dict.fromkeys(range(0x7F, 0xA0), 0xFFFD)


def console(*, stderr: bool = False) -> Console:
    """Returns Rich's console on standard output or standard error, as these are now."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def printable(text: str) -> str:
    """Returns the text with its control characters made visible; line breaks and tabs stay."""
    return text.translate(_PICTURES)


def write_text(text: str) -> None:
    """Writes a text: exactly into a pipe or file, without control characters to a terminal."""
    write_piece(f"{text}\n")


def write_piece(text: str) -> None:
    """Writes a part of a text, at once; see `write_text`."""
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def write_json(value: Any) -> None:
    """Writes JSON in ASCII, which any pipe can carry."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False) + "\n")


def error_line(message: str) -> None:
    """Writes an error as one line to standard error."""
    sys.stderr.write(f"icdpo: {printable(' '.join(message.split()))}\n")


@contextmanager
def working(what: str) -> Iterator[Status]:
    """Shows what is being done while it is, if standard error is a terminal."""
    with console(stderr=True).status(what) as status:
        yield status


def on_stage(status: Status) -> OnProgress:
    """Returns a progress callback that says what comes next."""
    following = {"retrieved": "Sampling candidates ...", "sampled": "Scoring them ..."}

    def show(progress: Progress) -> None:
        status.update(following.get(progress.stage, "Done"))

    return show
