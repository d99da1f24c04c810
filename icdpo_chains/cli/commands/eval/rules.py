"""`icdpo eval rules`: does the model follow house rules that demonstrations alone show?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icdpo_chains.cli import loading, options
from icdpo_chains.cli.command import checked, command
from icdpo_chains.cli.console import console, working
from icdpo_chains.foundation.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

    from icdpo_chains.evaluation.rules.answers import RuleAnswers
    from icdpo_chains.evaluation.rules.report import RulesReport

__all__ = ["register"]

_SYSTEMS_ACROSS = 8
"""The maximum number of systems in a table of 80 columns."""


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command(app, "rules")(rules)


def rules(
    rules: Annotated[
        str | None, typer.Option("--rules", help="Names, separated by commas; all rules if not given.")
    ] = None,
    prompts: Annotated[int, typer.Option(help="Test prompts of each rule, at most 50.")] = 50,
    n: Annotated[int, typer.Option("--n", "-n", help="Candidates of each question.")] = 8,
    k: options.Demonstrations = 2,
    min_similarity: options.MinSimilarity = None,
    min_bm25: options.MinBM25 = None,
    substitute: options.Substitute = "general",
    max_tokens: Annotated[int, typer.Option(help="The longest answer, in tokens.")] = 48,
    batch: Annotated[int, typer.Option(help="Questions answered together.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the candidates.")] = 0,
    systems: Annotated[
        str | None,
        typer.Option(
            help="Further systems, separated by commas: guided, guided_of_n, best_of_n, sft_lora, "
            "reward_decoding (slow); guided and best_of_n if not given."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Directory of the run.")] = Path("eval-rules"),
    plot: Annotated[Path | None, typer.Option(help="Write the shares as a bar chart (.svg).")] = None,
    model: options.Model = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
) -> None:
    """Compare systems on house rules that 20 demonstrations show and no instruction names.

    Each rule has a deterministic check. A stopped run continues when the command is started again, with
    further rules, prompts and systems where they are named: answers in the directory are not sampled again.
    The directory receives the answers, a table in Markdown and all figures as JSON.
    """
    from icdpo_chains.demonstrations.retrievers.threshold import Threshold
    from icdpo_chains.evaluation.rules.definitions.catalog import RULES, build_rule
    from icdpo_chains.evaluation.rules.stages import DEFAULT_STAGES, check_stages
    from icdpo_chains.foundation.validation import check_count
    from icdpo_chains.policies.sampling import MAX_CANDIDATES

    names = list(RULES) if rules is None else _names(rules)
    with checked():
        check_count(prompts, "--prompts", 50)
        check_count(n, "--n", MAX_CANDIDATES)
        check_count(k, "--k", 20)
        check_count(batch, "--batch", 1000)
        if plot is not None and plot.suffix.lower() != ".svg":
            raise ValueError(f"--plot writes SVG, and {str(plot)!r} does not end in .svg")
        threshold = Threshold(min_similarity=min_similarity, min_bm25=min_bm25, substitute=substitute)
        if not names:
            raise ValueError(f"--rules names no rule: use {', '.join(RULES)}")
        stages = check_stages(DEFAULT_STAGES if systems is None else _names(systems))
        chosen = [build_rule(name) for name in dict.fromkeys(names)]
    sampling = options.sampling_params(max_tokens=max_tokens, temperature=1.0, top_p=0.8)
    with working("Loading the model ...") as status:
        from icdpo_chains.evaluation.rules.answering import answer_rules
        from icdpo_chains.evaluation.rules.report import report_rules

        policy = loading.load_policy(status, options.model_config(model, dtype=dtype, device=device))
        # The rules are independent of each other, so that a later run may add rules or prompts.
        settings = {
            "model": policy.name,
            "n": n,
            "k": k,
            "max_tokens": max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": seed,
        }
        if threshold.limits:
            settings |= asdict(threshold)
        total, done = len(chosen) * prompts, 0

        def show(answers: RuleAnswers) -> None:
            nonlocal done
            done += 1
            status.update(f"{answers.rule}: {done} of {total} questions")

        status.update("Answering ...")
        answers = answer_rules(
            chosen,
            policy,
            options.embedder(),
            out / "answers.jsonl",
            settings,
            prompts=prompts,
            n=n,
            k=k,
            sampling=sampling,
            seed=seed,
            threshold=threshold,
            batch=batch,
            stages=stages,
            on_answers=show,
        )
        report = report_rules(answers, settings)
        (out / "rules.md").write_text(report.markdown(), encoding="utf-8")
        (out / "rules.json").write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    if plot is not None:
        from icdpo_chains.evaluation.rules.chart import plot_rules

        plot_rules(report, plot)
    for table in _tables(report):
        console().print(table)
    console().print(printable(f"{out / 'rules.md'} contains the table, {out / 'rules.json'} all figures"))


def _tables(report: RulesReport) -> list[Table]:
    from rich.table import Table

    plain: dict[str, Any] = {"title_justify": "left", "box": None, "padding": (0, 1, 0, 0)}
    # Without a box, and with the short names of the systems, both tables fit 80 columns.
    whole = Table(title="All rules: % of answers that follow the rule", **plain)
    names, rows = report.header(), report.rows()
    kept = range(1 + len(report.rules), len(names))
    whole.add_column("system", min_width=10)
    for place in kept:
        whole.add_column(names[place], justify="right", no_wrap=names[place] == "95 %")
    for system, row in zip(report.systems, rows, strict=True):
        whole.add_row(system.name, *(row[place] for place in kept))
    tables = [whole]
    for start in range(0, len(report.systems), _SYSTEMS_ACROSS):
        across = range(start, min(start + _SYSTEMS_ACROSS, len(report.systems)))
        each = Table(title="Each rule: % of answers that follow it" if start == 0 else None, **plain)
        each.add_column("rule", min_width=19)
        for place in across:
            each.add_column(report.systems[place].name.replace("_", "\n"), justify="right")
        for place, rule in enumerate(report.rules, 1):
            each.add_row(rule, *(rows[system][place] for system in across))
        tables.append(each)
    return tables


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]
