"""`command`: a subcommand that reports an error in one line; `--debug` adds the traceback."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from icdpo_chains.cli.console import error_line
from icdpo_chains.errors import ICDPOError

__all__ = ["checked", "command"]

_Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def command(app: typer.Typer, name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Registers a function as a subcommand, and adds the option `--debug`."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, debug: bool = False, **options: Any) -> None:
            with _errors_in_one_line(debug):
                function(*args, **options)

        # Typer reads the options from the signature.
        signature = inspect.signature(function, eval_str=True)
        option = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_Debug)
        run.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*signature.parameters.values(), option]
        )
        run.__annotations__ = {
            parameter: known.annotation for parameter, known in signature.parameters.items()
        } | {"debug": _Debug}
        app.command(name, short_help=_summary(function.__doc__ or ""))(run)
        return function

    return register


def _summary(text: str) -> str:
    """Returns the first sentence, which a list of commands shows whole; Click cuts what it chooses itself."""
    paragraph = " ".join(text.strip().split("\n\n", 1)[0].split())
    return re.split(r"(?<=[.:]) (?=[A-Z])", paragraph, maxsplit=1)[0]


@contextmanager
def checked() -> Iterator[None]:
    """Turns errors of our argument checks into usage errors (exit code 2)."""
    try:
        yield
    except ICDPOError:
        raise
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None


@contextmanager
def _errors_in_one_line(debug: bool) -> Iterator[None]:
    if not debug:
        _silence_libraries()
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
        raise
    except ICDPOError as error:
        if debug:
            raise
        error_line(str(error))
        raise typer.Exit(1) from None
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        error_line(f"{where}{error.strerror or error}")
        raise typer.Exit(1) from None
    except Exception as error:
        if debug:
            raise
        error_line(f"{type(error).__name__}: {error} (a bug? --debug shows where it happened)")
        raise typer.Exit(1) from None


def _silence_libraries() -> None:
    import warnings

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.simplefilter("ignore")
