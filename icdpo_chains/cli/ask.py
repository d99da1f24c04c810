"""`icdpo ask`: the best of n answers to a question."""

from __future__ import annotations

from typing import Annotated

import typer

from icdpo_chains.cli import options
from icdpo_chains.cli.command import command
from icdpo_chains.cli.console import console, on_stage, working, write_json, write_text
from icdpo_chains.messages import Message, as_conversation

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command(app, "ask")(ask)


def ask(
    context: typer.Context,
    question: Annotated[str | None, typer.Argument(help="The question; standard input if not given.")] = None,
    n: Annotated[int, typer.Option("--n", "-n", help="Candidates sampled.")] = 8,
    k: options.Demonstrations = 2,
    against: options.Against = "rejected",
    aggregate: options.Aggregate = "mean",
    seed: Annotated[int | None, typer.Option(help="Makes the answer reproducible.")] = None,
    max_tokens: Annotated[int, typer.Option(help="The longest answer, in tokens.")] = 128,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest token.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Only the likeliest tokens up to this probability.")] = 0.8,
    finalists: Annotated[
        int | None, typer.Option(help="Sample no more candidates than these to their end; for a large n.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="A system message.")] = None,
    config: options.Config = None,
    model: options.Model = None,
    store: options.StorePath = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    as_json: options.AsJson = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show candidates and scores.")] = False,
) -> None:
    """Answer a question with the best of n candidates."""
    text = options.read_input(question, "a question")
    settings = options.configured(
        context,
        config,
        model=model,
        store=store,
        k=k,
        against=against,
        aggregate=aggregate,
        dtype=dtype,
        device=device,
        n=n,
        finalists=finalists,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
    )
    prompt = [Message("system", system)] if system else []
    prompt.append(Message("user", text))
    as_conversation(prompt)  # a blank question is answered before a model is loaded
    with working("Preparing ...") as status:
        icdpo = options.build_icdpo(status, settings)
        status.update("Retrieving demonstrations ...")
        result = icdpo.generate(prompt, on_progress=on_stage(status))
    if as_json:
        write_json(result.to_dict())
        return
    write_text(result.text)
    if verbose:
        from icdpo_chains.cli.tables import candidates_table, demonstrations_table, totals

        out = console()
        out.print()
        out.print(candidates_table(result, icdpo.policy.tokenizer))
        out.print(demonstrations_table(result))
        out.print(totals(result), style="dim")
