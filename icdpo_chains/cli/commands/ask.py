"""`icdpo ask`: answer a question with the best of n candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from icdpo_chains.cli import loading, options
from icdpo_chains.cli.config_options import command_with_settings
from icdpo_chains.cli.console import console, cut_off_line, on_stage, working, write_json, write_text
from icdpo_chains.messages import Message, as_conversation

if TYPE_CHECKING:
    from icdpo_chains.config import ICDPOConfig

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command_with_settings(app, "ask")(ask)


def ask(
    question: Annotated[
        str | None, typer.Argument(help="The question; read from standard input by default.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="A system message.")] = None,
    as_json: options.AsJson = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show candidates and scores.")] = False,
    *,
    settings: ICDPOConfig,
) -> None:
    """Answer a question with the best of n candidates."""
    text = options.read_input(question, "a question")
    prompt = [Message("system", system)] if system else []
    prompt.append(Message("user", text))
    as_conversation(prompt)  # a blank question fails before a model is loaded
    with working("Preparing ...") as status:
        icdpo = loading.build_icdpo(status, settings)
        status.update("Retrieving demonstrations ...")
        result = icdpo.generate(prompt, on_progress=on_stage(status))
    if as_json:
        write_json(result.to_dict())
        return
    write_text(result.text)
    cut_off_line(result, settings.sampling.max_tokens)
    if verbose:
        from icdpo_chains.cli.tables import candidates_table, demonstrations_table, totals

        out = console()
        out.print()
        out.print(candidates_table(result, icdpo.policy.tokenizer))
        out.print(demonstrations_table(result))
        out.print(totals(result), style="dim")
