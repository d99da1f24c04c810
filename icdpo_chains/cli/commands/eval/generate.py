"""`icdpo eval generate`: let each system answer held-out prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icdpo_chains.cli import loading, options
from icdpo_chains.cli.command import checked, command
from icdpo_chains.cli.commands.eval.accuracy import read_pairs
from icdpo_chains.cli.console import console, working
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.foundation.printable import counted, printable

if TYPE_CHECKING:
    from rich.status import Status

    from icdpo_chains.demonstrations.demonstration import Demonstration
    from icdpo_chains.evaluation.comparison.generation import FailedAnswer
    from icdpo_chains.evaluation.system_answers import SystemAnswer

__all__ = ["ANSWERS", "VARIANT_ANSWERS", "answer_file", "register"]

ANSWERS, VARIANT_ANSWERS = "answers.jsonl", "variants.jsonl"


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command(app, "generate")(generate)


def generate(
    files: Annotated[list[Path], typer.Argument(help="Preference files: JSONL, JSON, CSV or Parquet.")],
    out: Annotated[Path, typer.Option(help="The directory of the run.")] = Path("eval"),
    prompts: Annotated[int, typer.Option(help="Number of prompts to hold out and answer.")] = 30,
    system: Annotated[
        list[str] | None, typer.Option(help="A system; repeatable. All systems by default.")
    ] = None,
    variants: Annotated[bool, typer.Option(help="Also vary the number and source of demonstrations.")] = True,
    n: Annotated[
        int, typer.Option("--n", "-n", help="Candidates for the systems that choose among several.")
    ] = 4,
    k: options.Demonstrations = 2,
    max_tokens: Annotated[int, typer.Option(help="The longest answer, in tokens.")] = 128,
    reward_pairs: Annotated[int, typer.Option(help="Maximum number of pairs to fit a reward model.")] = 300,
    sft_rows: Annotated[int, typer.Option(help="Maximum number of rows to train the LoRA adapter.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split, the sampling and the training.")] = 0,
    model: options.Model = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
) -> None:
    """Let each system answer held-out prompts. After a stop, the same command continues.

    The preferences are split into prompts to answer, rows for the judge, and demonstrations; near-duplicates
    stay together. The directory keeps the trained reward models and LoRA adapter.
    """
    from icdpo_chains.evaluation.comparison.experiment import SYSTEMS, VARIANTS
    from icdpo_chains.foundation.validation import check_count
    from icdpo_chains.policies.sampling import MAX_CANDIDATES

    names = list(dict.fromkeys(system or SYSTEMS))
    with checked():
        check_count(prompts, "--prompts", 1_000_000)
        check_count(n, "--n", MAX_CANDIDATES)
        check_count(k, "--k", 10_000)
        check_count(reward_pairs, "--reward-pairs", 10_000_000)
        check_count(sft_rows, "--sft-rows", 10_000_000)
        for name in names:
            if name not in SYSTEMS:
                raise ValueError(f"--system {name!r} is unknown: use {', '.join(SYSTEMS)}")
    sampling = options.sampling_params(max_tokens=max_tokens, temperature=1.0, top_p=0.8)
    with working("Reading the preferences ...") as status:
        from icdpo_chains.evaluation.comparison.experiment import Experiment, divide
        from icdpo_chains.evaluation.comparison.generation import generate_answers

        pairs = read_pairs(files)
        parts = divide(pairs, prompts, seed=seed)
        policy = loading.load_policy(status, options.model_config(model, dtype=dtype, device=device))
        experiment = Experiment(
            policy,  # type: ignore[arg-type]  # the command line can only name a TransformersPolicy
            parts,
            out,
            n=n,
            k=k,
            sampling=sampling,
            seed=seed,
            embedder=options.embedder(),
            reward_pairs=reward_pairs,
            sft_rows=sft_rows,
            on_work=lambda what: status.update(f"{what.capitalize()} ..."),
        )
        settings = {
            "files": [file.name for file in files],
            "preferences": _digest(pairs),
            "model": policy.name,
            "dtype": str(policy.model.dtype).removeprefix("torch."),  # type: ignore[attr-defined]
            "prompts": len(parts.prompts),
            "demonstrations": len(parts.demonstrations),
            "judge_rows": len(parts.judge),
            "n": n,
            "k": k,
            "max_tokens": max_tokens,
            "top_p": sampling.top_p,
            "temperature": sampling.temperature,
            "reward_pairs": reward_pairs,
            "sft_rows": sft_rows,
            "seed": seed,
        }
        # Fit the judge here, so that judging needs only the directory.
        _ = experiment.judge
        wanted = [(names, ANSWERS)]
        if variants:
            wanted.append(([name for name in VARIANTS if name != f"k={k}"], VARIANT_ANSWERS))
        for some, file in wanted:
            bar = _Bar(status, len(some) * len(parts.prompts))
            done = generate_answers(
                some, experiment.system, parts.prompts, out / file, settings, seed=seed, on_answer=bar.count
            )
            line = f"{out / file}: {counted(done.added, 'answer')}, {done.already_there} were there already"
            console().print(printable(line), soft_wrap=True)
            for failure in done.failed:
                line = f"  failed: {failure.system}, prompt {failure.prompt_id}: {failure.reason}"
                console().print(printable(line), soft_wrap=True)


def _digest(pairs: Sequence[Demonstration]) -> str:
    """Identifies preferences by content: a file may keep its name while its rows change."""
    return hashlib.sha256("\n".join(pair.id for pair in pairs).encode("ascii")).hexdigest()[:32]


def answer_file(run: Path) -> Path:
    """Returns the file of a run's answers.

    Raises:
        InvalidInputError: the directory has none.
    """
    if not (run / ANSWERS).exists():
        raise InvalidInputError(f"{run} has no {ANSWERS}: make it with `icdpo eval generate --out {run}`")
    return run / ANSWERS


class _Bar:
    """Reports the number of answers and their rate."""

    def __init__(self, status: Status, total: int) -> None:
        import time

        self._status, self._total, self._done = status, total, 0
        self._clock, self._began = time.perf_counter, time.perf_counter()

    def count(self, answer: SystemAnswer | FailedAnswer) -> None:
        self._done += 1
        rate = 60 * self._done / (self._clock() - self._began)
        self._status.update(f"{answer.system}: {self._done} of {self._total}, {rate:.1f} answers a minute")
