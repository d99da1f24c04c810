"""`icdpo chat`: a conversation in which each answer is the best of n."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Annotated

import typer

from icdpo_chains.cli import loading, options
from icdpo_chains.cli.chat_session import ChatSession
from icdpo_chains.cli.config_options import command_with_settings
from icdpo_chains.cli.console import console, cut_off_line, error_line, on_stage, working, write_piece
from icdpo_chains.errors import ICDPOError
from icdpo_chains.messages import Message

if TYPE_CHECKING:
    from icdpo_chains.config import ICDPOConfig
    from icdpo_chains.icdpo import ICDPO

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command_with_settings(app, "chat")(chat)


def chat(
    system: Annotated[str | None, typer.Option(help="A system message.")] = None,
    *,
    settings: ICDPOConfig,
) -> None:
    """Hold a conversation, one line per turn. With --n 1, answers are written as they are sampled.

    Ctrl-C stops an answer, Ctrl-D (or Ctrl-C between answers) ends the conversation. /help lists commands:
    /good, /bad and /instead teach by the last answer. In a pipe, each line is a turn, without commands; the
    exit code is 1 if a turn could not be answered.
    """
    with working("Preparing ...") as status:
        embedder = options.embedder()  # readers and writers share it
        icdpo = loading.build_icdpo(status, settings, embedder)
    session = ChatSession(
        lambda: options.open_store(settings.store, read_only=False, embedder=embedder), system
    )
    interactive = _is_terminal()
    if interactive:
        sys.stderr.write("icdpo: ask something; /help lists commands, Ctrl-D leaves\n")
    failed = False
    for line in _lines(interactive):
        try:
            if interactive and session.is_command(line):
                message = session.run(line)
                if message is None:
                    return
                sys.stderr.write(f"{message}\n")
                continue
            asked = session.asked(line) if interactive else [*session.turns, Message("user", line)]
            answer = _answer(icdpo, asked, settings.sampling.max_tokens)
        except ICDPOError as error:
            # Keep the conversation so far, so that the user can rephrase the question.
            failed = True
            error_line(str(error))
        except KeyboardInterrupt:
            if not interactive:
                raise
            error_line("stopped; the question is forgotten")
        else:
            session.turns = [*asked, Message("assistant", answer)]
    if failed and not interactive:
        raise typer.Exit(1)


def _answer(icdpo: ICDPO, asked: Sequence[Message], max_tokens: int) -> str:
    """Writes the answer piece by piece, and returns it."""
    answer, result = "", None
    with ExitStack() as stack:
        status = stack.enter_context(working("Retrieving demonstrations ..."))
        chunks = stack.enter_context(closing(icdpo.stream(asked, on_progress=on_stage(status))))
        try:
            for chunk in chunks:
                if chunk.text and not answer:
                    status.stop()  # otherwise it redraws its line within the answer
                write_piece(chunk.text)
                answer += chunk.text
                result = chunk.result or result
        finally:
            if answer:
                write_piece("\n")
    if result is not None:
        cut_off_line(result, max_tokens)
    return answer


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _lines(interactive: bool) -> Iterator[str]:
    """Yields the user's turns; skips blank lines."""
    while True:
        if interactive:
            try:
                line = console().input("> ")
            except (EOFError, KeyboardInterrupt):
                sys.stdout.write("\n")
                return
        else:
            data = sys.stdin.buffer.readline()
            if not data:
                return
            # A line that is not UTF-8 is refused as a turn; the conversation continues.
            line = data.decode("utf-8", "surrogateescape")
        if line.strip():
            yield line.rstrip("\r\n")
