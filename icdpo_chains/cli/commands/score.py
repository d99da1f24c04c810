"""`icdpo score`: rank given answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icdpo_chains.cli import loading, options
from icdpo_chains.cli.config_options import SAMPLING, command_with_settings
from icdpo_chains.cli.console import console, on_stage, working, write_json
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.messages import as_conversation

if TYPE_CHECKING:
    from icdpo_chains.config import ICDPOConfig

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command_with_settings(app, "score", without=SAMPLING)(score)


def score(
    question: Annotated[str, typer.Argument(help="The question that they answer.")],
    responses: Annotated[
        list[str] | None, typer.Argument(help="The answers to rank.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="File with more answers: a JSON array of strings, or one answer per line."),
    ] = None,
    as_json: options.AsJson = False,
    *,
    settings: ICDPOConfig,
) -> None:
    """Rank answers from any source, best first."""
    answers = [*(responses or []), *(_read(file) if file else [])]
    if not answers:
        raise typer.BadParameter("give the answers to rank, after the question or with --file")
    as_conversation(question)  # a blank question fails before a model is loaded
    with working("Preparing ...") as status:
        icdpo = loading.build_icdpo(status, settings)
        result = icdpo.score(question, answers, on_progress=on_stage(status))
    if as_json:
        write_json(result.to_dict())
        return
    from icdpo_chains.cli.tables import candidates_table

    console().print(candidates_table(result, icdpo.policy.tokenizer))


def _read(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{file} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    if file.suffix.lower() != ".json":
        return [line for line in text.splitlines() if line.strip()]
    try:
        answers = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{file} is not JSON: {error}") from None
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        raise InvalidInputError(f'{file} must contain a JSON array of strings, such as ["one", "two"]')
    return answers
