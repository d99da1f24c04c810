"""`icdpo tune`: find the best settings for a model and its preferences."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icdpo_chains.cli import loading, options
from icdpo_chains.cli.command import checked, command
from icdpo_chains.cli.console import console, working, write_json
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.foundation.printable import counted

if TYPE_CHECKING:
    from icdpo_chains.evaluation.statistics import Interval
    from icdpo_chains.evaluation.tuning.tuning import Tuning

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command(app, "tune")(tune)


def tune(
    files: Annotated[list[Path], typer.Argument(help="Preference files: JSONL, JSON, CSV or Parquet.")],
    minutes: Annotated[float, typer.Option(help="Minutes of search, without the loading of models.")] = 10,
    out: Annotated[Path, typer.Option("--out", "-o", help="The settings file to write.")] = Path(
        "icdpo.json"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random draws.")] = 0,
    k: Annotated[
        list[int] | None,
        typer.Option("--k", "-k", help="Numbers of demonstrations to try; repeatable. [2, 4]"),
    ] = None,
    n: Annotated[
        list[int] | None,
        typer.Option("--n", "-n", help="Numbers of candidates to try; repeatable. [1, 2, 4, 8, 16]"),
    ] = None,
    retriever: Annotated[
        list[str] | None,
        typer.Option(help="Retrievers to try; repeatable. [two_stage, fixed]"),
    ] = None,
    check: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="A function of yours that judges the answers in place of a reward model: it takes question "
            "and answer, and returns a bool or a number.",
        ),
    ] = None,
    model: options.Model = None,
    store: options.Store = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    engine: options.Engine = "transformers",
    max_context: Annotated[int, typer.Option(help="The longest context, in tokens.")] = 2048,
    as_json: options.AsJson = False,
) -> None:
    """Search scorer, retriever, k and n, and write the best settings to a file for `--config`.

    A setting differs from its default only if a test shows it to be better; for scorer, retriever and k, on
    pairs that took no part in the search.
    --store names the demonstrations for later use with the settings; `icdpo import` adds FILES to it.
    """
    from icdpo_chains.cli.commands.eval.accuracy import read_pairs
    from icdpo_chains.config import ICDPOConfig
    from icdpo_chains.demonstrations.open_store import is_server
    from icdpo_chains.evaluation.judges.check import Check
    from icdpo_chains.evaluation.tuning import tuning
    from icdpo_chains.foundation.validation import check_count

    with checked():
        tuning.check(minutes, retriever or tuning.RETRIEVER_NAMES, k or tuning.KS, n or tuning.NS)
        check_count(max_context, "--max-context", 10_000_000)
    base = options.model_config(model, dtype=dtype, device=device, engine=engine)
    reward = None if check is None else Check.load(check)
    _check_writable(out)
    rows = read_pairs(files)
    base = base.changed(
        {"store": store if store is None or is_server(store) else str(Path(store).expanduser().resolve())}
    )
    with working("Preparing ...") as status:
        policy = loading.load_policy(status, base)
        found = tuning.tune(
            policy,
            rows,
            base=base,
            minutes=minutes,
            seed=seed,
            retrievers=retriever or tuning.RETRIEVER_NAMES,
            ks=k or tuning.KS,
            ns=n or tuning.NS,
            max_context=max_context,
            embedder=options.embedder(),
            reward=reward,
            on_progress=status.update,
        )
    config = found.config
    config.changed({"note": {**config.note, "files": [str(file) for file in files]}}).write(out)
    if as_json:
        write_json(ICDPOConfig.read(out).model_dump(mode="json"))
        return
    for line in _lines(found):
        console().print(line, soft_wrap=True)
    console().print(f"Written to {out}: icdpo ask --config {out} ...", soft_wrap=True)


def _check_writable(out: Path) -> None:
    # Check the output before the search, not after it.
    if out.exists():
        raise InvalidInputError(f"{out} exists: remove it, or name another file with --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(out.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(out.parent))


def _lines(found: Tuning) -> list[str]:
    search, count = found.setting, found.count
    if search.winner == search.default:
        lines = [
            f"No setting was better than the default ({search.default.label}), on {search.searched} pairs."
        ]
    elif not search.compared:
        lines = [
            f"Best in the search: {search.winner.label}, on {search.searched} pairs; no time or no pairs "
            "were left to compare it with the default, which is kept. Give more --minutes, or more pairs."
        ]
    else:
        verdict = (
            "The difference is real" if search.is_better else "No real difference, so the default is kept"
        )
        lines = [
            f"Best in the search: {search.winner.label}.",
            f"On {search.compared} other pairs: {_percent(search.winner_accuracy)}; the default "
            f"({search.default.label}): {_percent(search.default_accuracy)}.",
            f"{verdict} (p = {search.p_value:.3g}, paired permutation test).",
        ]
    if search.skipped:
        lines.append(f"{search.skipped} pairs did not fit the model and were skipped.")
    means = ", ".join(f"{n}: {found.mean:.3f}" for n, found in count.rewards.items())
    judged = f" Mean rewards by n, over {counted(count.prompts, 'prompt')}: {means}." if means else ""
    return [*lines, f"n = {count.n}, {count.reason}.{judged}"]


def _percent(found: Interval) -> str:
    return f"{found.mean:.1%} ({found.low:.1%} to {found.high:.1%})"
