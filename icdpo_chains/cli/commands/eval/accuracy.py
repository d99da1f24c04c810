"""`icdpo eval accuracy`: how often each scorer ranks the chosen answer above the rejected one."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icdpo_chains.cli import loading, options
from icdpo_chains.cli.command import checked, command
from icdpo_chains.cli.console import console, error_line, working, write_json
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.foundation.printable import counted

if TYPE_CHECKING:
    from rich.table import Table

    from icdpo_chains.demonstrations.demonstration import Demonstration
    from icdpo_chains.demonstrations.files import RefusedRow
    from icdpo_chains.evaluation.accuracy.accuracy import PreferenceAccuracy
    from icdpo_chains.evaluation.accuracy.margins import PairMargins
    from icdpo_chains.evaluation.accuracy.measures import Setting
    from icdpo_chains.evaluation.statistics import Interval

__all__ = ["read_pairs", "register"]

_MOST_PAIRS = 1_000_000
_LEGEND = """\
S: how much likelier the answer is after demonstrations with their chosen answers than without demonstrations.
S^: than after demonstrations with their rejected answers. sum: over the answer's tokens; mean: per token."""


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command(app, "accuracy")(accuracy)


def accuracy(
    files: Annotated[list[Path], typer.Argument(help="Preference files: JSONL, JSON, CSV or Parquet.")],
    pairs: Annotated[int, typer.Option(help="Number of pairs to score.")] = 100,
    k: Annotated[
        list[int] | None, typer.Option("--k", "-k", help="Demonstrations shown; repeatable. [2]")
    ] = None,
    retriever: Annotated[
        list[str] | None,
        typer.Option(help="two_stage, bm25, embeddings, random, fixed; repeatable. [two_stage, random]"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of pairs and of all draws.")] = 0,
    plain: Annotated[bool, typer.Option(help="Use the plain format instead of the chat template.")] = False,
    chosen_instruction: Annotated[
        str | None, typer.Option(help="Instruction before chosen answers; '' for none.")
    ] = None,
    rejected_instruction: Annotated[
        str | None, typer.Option(help="Instruction before rejected answers; '' for none.")
    ] = None,
    model: options.Model = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    engine: options.Engine = "transformers",
    max_context: Annotated[int, typer.Option(help="The longest context, in tokens.")] = 2048,
    plot: Annotated[Path | None, typer.Option(help="Write a calibration plot of the scorers (.svg).")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure preference accuracy: how often the chosen answer of a pair scores above the rejected one.

    Demonstrations come from the other rows, never from near-duplicates of the pair. A coin gets 50 %. The
    last line is the verdict on the default score. Ctrl-C ends the measurement and reports the pairs scored
    so far; the exit code is then 130.
    """
    from icdpo_chains.demonstrations.retrievers.catalog import RETRIEVERS
    from icdpo_chains.foundation.validation import check_count

    names, ks = list(dict.fromkeys(retriever or ["two_stage", "random"])), list(dict.fromkeys(k or [2]))
    with checked():
        check_count(pairs, "--pairs", _MOST_PAIRS)
        check_count(max_context, "--max-context", 10_000_000)
        for each in ks:
            check_count(each, "--k", 10_000)
        for name in names:
            if name not in RETRIEVERS:
                raise ValueError(f"--retriever {name!r} is unknown: use {', '.join(RETRIEVERS)}")
        if plot is not None and plot.suffix.lower() != ".svg":
            raise ValueError(f"--plot writes SVG, and {str(plot)!r} does not end in .svg")
    chosen = options.model_config(model, dtype=dtype, device=device, engine=engine)
    rows = read_pairs(files)
    from rich.progress import track

    from icdpo_chains.demonstrations.store import DemonstrationStore
    from icdpo_chains.evaluation.accuracy.accuracy import PreferenceAccuracy
    from icdpo_chains.evaluation.accuracy.margins import PairScorer
    from icdpo_chains.evaluation.accuracy.measures import settings_of
    from icdpo_chains.prompts.contexts import Instructions
    from icdpo_chains.prompts.formats import PlainFormat

    default = Instructions()
    instructions = Instructions(
        default.chosen if chosen_instruction is None else chosen_instruction,
        default.rejected if rejected_instruction is None else rejected_instruction,
    )
    outcomes: list[PairMargins | None] = []
    interrupted = False
    with working("Preparing ...") as status:
        policy = loading.load_policy(status, chosen)
        status.update("Embedding the prompts ...")
        store = DemonstrationStore.ephemeral(embedder=options.embedder())
        store.add(rows)
        status.update("Looking for near-duplicates ...")
        scorer = PairScorer(
            policy,
            rows,
            store,
            names,
            seed=seed,
            instructions=instructions,
            format=PlainFormat(policy.tokenizer) if plain else None,
            max_context=max_context,
        )
    drawn = random.Random(seed).sample(rows, len(rows))  # noqa: S311
    each_pair = scorer.score_each(drawn, settings_of(names, ks))
    with store:
        try:
            wanted = min(pairs, len(rows))
            for _ in track(range(wanted), "Scoring pairs", console=console(stderr=True), transient=True):
                # The next pair replaces a pair that does not fit.
                for outcome in each_pair:
                    outcomes.append(outcome)
                    if outcome is not None:
                        break
        except KeyboardInterrupt:
            interrupted = True
    found = PreferenceAccuracy.of(policy.name, outcomes, seed=seed)
    if interrupted:
        error_line(f"interrupted: {len(found.pairs)} of {wanted} pairs were scored")
    if not found.pairs:
        if interrupted:
            raise typer.Exit(130)
        raise InvalidInputError(
            f"no pair fits into {scorer.max_context} tokens: raise --max-context, or "
            "use a model with a longer context"
        )
    _report(found, as_json=as_json)
    if plot is not None:
        _draw(found, plot)
    if interrupted:
        raise typer.Exit(130)


def read_pairs(files: list[Path]) -> tuple[Demonstration, ...]:
    """Reads preference pairs; reports the number of refused rows on standard error."""
    from icdpo_chains.evaluation.preferences import read_preferences

    refused: list[RefusedRow] = []
    rows = read_preferences(files, on_refused=refused.append)
    if refused:
        error_line(f"{counted(len(refused), 'row')} can't be used; the first: {refused[0]}")
    return rows


def _report(found: PreferenceAccuracy, *, as_json: bool) -> None:
    from icdpo_chains.evaluation.accuracy.verdict import default_setting, verdict

    if as_json:
        write_json({**found.to_dict(), "verdict": verdict(found)})
        return
    out = console()
    # In a file or a pipe, the tables are as wide as necessary.
    if not sys.stdout.isatty():
        out.width = 140
    out.print(_accuracy_table(found, default_setting()))
    out.print(_gap_table(found))
    out.print(_LEGEND, style="dim", soft_wrap=True)
    skipped = f"; {found.skipped} did not fit and were skipped" if found.skipped else ""
    intervals = "95 % intervals: bootstrap; Wilson's where all pairs agree"
    out.print(f"{found.model}; {intervals}; seed {found.seed}{skipped}", style="dim", soft_wrap=True)
    out.print(verdict(found), soft_wrap=True)


def _accuracy_table(found: PreferenceAccuracy, default: Setting) -> Table:
    from rich.table import Table

    table = Table(title=f"Preference accuracy, {counted(len(found.pairs), 'pair')}", title_justify="left")
    for name in ("measure", "retriever"):
        table.add_column(name)
    for name in ("k", "shown", "accuracy", "95 % interval"):
        table.add_column(name, justify="right")
    for setting in found.settings:
        mid, shown = found.accuracy(setting), found.shown(setting)
        table.add_row(
            f"{setting.name} (default)" if setting == default else setting.name,
            setting.retriever or "",
            "" if setting.k is None else str(setting.k),
            "" if shown is None else f"{shown:.1f}",
            f"{mid.mean:.1%}",
            f"{mid.low:.1%} to {mid.high:.1%}",
        )
    return table


def _gap_table(found: PreferenceAccuracy) -> Table:
    from rich.table import Table

    table = Table(title="By how much longer the chosen answer is, in tokens", title_justify="left")
    table.add_column("measure")
    for third in found.by_length_gap(found.settings[0]):
        table.add_column(
            f"{third.shortest} to {third.longest} ({counted(third.pairs, 'pair')})", justify="right"
        )
    for setting in found.settings:
        table.add_row(setting.label, *(_interval(third.accuracy) for third in found.by_length_gap(setting)))
    return table


def _interval(found: Interval) -> str:
    return f"{found.mean:.1%} ({found.low:.1%} to {found.high:.1%})"


def _draw(found: PreferenceAccuracy, plot: Path) -> None:
    from icdpo_chains.evaluation.accuracy.calibration import calibrate, plot_calibration
    from icdpo_chains.evaluation.accuracy.measures import SCORERS

    scorers = [setting for setting in found.settings if setting.measure in SCORERS]
    first = scorers[0]
    # A plot shows four lines legibly; the JSON has all retrievers and k.
    shown = [s for s in scorers if (s.retriever, s.k) == (first.retriever, first.k)]
    plot_calibration({setting.label: calibrate(found.margins(setting)) for setting in shown}, plot)
    console(stderr=True).print(str(plot), soft_wrap=True)
