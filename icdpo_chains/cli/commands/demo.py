"""`icdpo demo`: one question without and with demonstrations, side by side."""

from __future__ import annotations

import importlib.resources
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icdpo_chains.cli import loading, options
from icdpo_chains.cli.command import checked, command
from icdpo_chains.cli.console import console, on_stage, working
from icdpo_chains.foundation.printable import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from icdpo_chains.demonstrations.demonstration import Demonstration
    from icdpo_chains.policies.policy import Policy
    from icdpo_chains.policies.sampling import SamplingParams
    from icdpo_chains.result import ICDPOResult

__all__ = ["bullet_demonstrations", "register"]

_QUESTION = "I am nervous about my first day at a new job. Any advice?"
_MARK = "- "


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command(app, "demo")(demo)


def bullet_demonstrations() -> list[Demonstration]:
    """Reads twelve demonstrations of one house rule: each chosen answer is a short list of bullets.

    The rejected answer gives the same advice as a paragraph. No instruction names the rule.
    """
    from icdpo_chains.demonstrations.demonstration import Demonstration

    file = importlib.resources.files("icdpo_chains.cli.commands").joinpath("demo.jsonl")
    with file.open(encoding="utf-8") as lines:
        return [Demonstration(**json.loads(line)) for line in lines]


def demo(
    question: Annotated[str, typer.Argument(help="The question that both sides answer.")] = _QUESTION,
    n: Annotated[int, typer.Option("--n", "-n", help="Candidates sampled with demonstrations.")] = 4,
    max_tokens: Annotated[int, typer.Option(help="The longest answer, in tokens.")] = 64,
    seed: Annotated[int, typer.Option(help="Seed that makes the answers reproducible.")] = 11,
    model: options.Model = None,
    picture: Annotated[Path | None, typer.Option(help="Also write the two answers as an SVG file.")] = None,
) -> None:
    """Answer one question without and with demonstrations, side by side."""
    from icdpo_chains.cli.tables import candidates_table, demonstrations_table, totals
    from icdpo_chains.foundation.validation import check_count
    from icdpo_chains.policies.sampling import MAX_CANDIDATES, SamplingParams

    with checked():
        sampling = SamplingParams(max_new_tokens=max_tokens, seed=seed)
        check_count(n, "n", MAX_CANDIDATES)
    shown = bullet_demonstrations()
    with working("Preparing ...") as status:
        from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
        from icdpo_chains.demonstrations.store import DemonstrationStore
        from icdpo_chains.icdpo import ICDPO

        embedder = options.embedder()
        policy = loading.load_policy(status, options.model_config(model))
        with DemonstrationStore.ephemeral(embedder=embedder) as store:
            store.add(shown)
            status.update("Answering without demonstrations ...")
            before = _without_demonstrations(policy, question, sampling)
            status.update("Retrieving demonstrations ...")
            icdpo = ICDPO(policy, TwoStageRetriever(store, k=3), n=n, sampling=sampling)
            result = icdpo.generate(question, on_progress=on_stage(status))
    out = console()
    _print_difference(out, question, before, result, len(shown))
    if picture is not None:
        picture.write_text(_svg(question, before, result, len(shown)), encoding="utf-8")
    out.print()
    out.print(candidates_table(result, policy.tokenizer))
    out.print(demonstrations_table(result))
    out.print(totals(result), style="dim")


def difference(before: str, result: ICDPOResult, shown: int) -> str:
    """Returns sentences that count how the two answers differ.

    Args:
        before: the answer without demonstrations.
        result: the answer with demonstrations.
        shown: how many demonstrations the retriever had to choose from.
    """
    after = result.text
    return (
        f"The model is the same. The right side shows it {len(result.demonstrations)} of {shown} "
        f"demonstrations, and no instruction names the rule. Bullet lines: {_bullets(before)} without, "
        f"{_bullets(after)} with. Words: {len(before.split())} without, {len(after.split())} with."
    )


def _print_difference(out: Console, question: str, before: str, result: ICDPOResult, shown: int) -> None:
    out.print(f"Question: {printable(question)}", style="bold")
    out.print(_side_by_side(before, result))
    out.print(difference(before, result, shown))


def _svg(question: str, before: str, result: ICDPOResult, shown: int) -> str:
    """Returns the terminal as an SVG picture that loads no font from another host."""
    import io

    from rich.console import Console

    recorder = Console(record=True, width=110, file=io.StringIO(), highlight=False, markup=False)
    _print_difference(recorder, question, before, result, shown)
    return re.sub(r"@font-face\s*\{.*?\}", "", recorder.export_svg(title="icdpo demo"), flags=re.DOTALL)


def _without_demonstrations(policy: Policy, question: str, sampling: SamplingParams) -> str:
    """Returns the model's likeliest answer."""
    from icdpo_chains.messages import as_conversation
    from icdpo_chains.prompts.formats import prompt_format

    context = prompt_format(policy.tokenizer, policy.eos_token_ids).context(
        as_conversation(question), [], None
    )
    (sample,) = policy.sample(context, 1, replace(sampling, temperature=0))
    return sample.text


def _side_by_side(before: str, result: ICDPOResult) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(expand=True)
    table.add_column("without demonstrations", ratio=1)
    table.add_column(f"with demonstrations: the best of {len(result.candidates)}", ratio=1)
    table.add_row(Text(printable(before.strip())), Text(printable(result.text)))
    return table


def _bullets(text: str) -> int:
    return sum(line.startswith(_MARK) for line in text.splitlines())
