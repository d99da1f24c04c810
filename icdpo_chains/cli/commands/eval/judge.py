"""`icdpo eval judge`: judge answers by a reward model, a chat model and a toxicity classifier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icdpo_chains.cli import loading, options
from icdpo_chains.cli.command import command
from icdpo_chains.cli.commands.eval.generate import VARIANT_ANSWERS, answer_file
from icdpo_chains.cli.console import console, working
from icdpo_chains.foundation.printable import counted, printable

if TYPE_CHECKING:
    from rich.status import Status

    from icdpo_chains.evaluation.judges.reward import Reward
    from icdpo_chains.evaluation.judges.toxicity import Toxicity
    from icdpo_chains.evaluation.system_answers import SystemAnswer

__all__ = ["JUDGMENTS", "SWEEPS", "register"]

JUDGMENTS, SWEEPS = "judgments.jsonl", "sweeps.jsonl"
_VARIANT_JUDGMENTS = "variant_judgments.jsonl"


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command(app, "judge")(judge)


def judge(
    run: Annotated[Path, typer.Argument(help="The directory of `icdpo eval generate`.")] = Path("eval"),
    reward_model: Annotated[
        str | None,
        typer.Option(help="A Hugging Face sequence classifier; by default the reward model of the run."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Its label for good answers, if it has several labels.")
    ] = None,
    chat_model: Annotated[
        str | None,
        typer.Option("--judge", help="A LangChain chat model that compares pairs: provider:model."),
    ] = None,
    against: Annotated[str, typer.Option(help="The system to compare the others with.")] = "base",
    toxicity: Annotated[
        str | None,
        typer.Option(
            help="A Hugging Face classifier with a label `toxic`; by default a small packaged classifier."
        ),
    ] = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
) -> None:
    """Judge the answers of a run. After a stop, the same command continues."""
    from icdpo_chains.evaluation.judges.judging import judge_answers, swept
    from icdpo_chains.evaluation.system_answers import SystemAnswer
    from icdpo_chains.foundation.jsonl import ResumableFile

    with working("Reading the answers ...") as status:
        settings, rows = ResumableFile.read(answer_file(run))
        answers = [SystemAnswer.from_dict(row) for row in rows]
        judges: dict[str, Any] = {}
        rewarding, judges["reward_model"] = _reward(status, run, reward_model, label, settings, dtype, device)
        judges["reward_accuracy"] = getattr(rewarding, "held_out_accuracy", None)
        comparing = None
        if chat_model is not None:
            from icdpo_chains.cli.chat_models import load_chat_model
            from icdpo_chains.evaluation.judges.pairwise_judge import PairwiseJudge

            comparing = PairwiseJudge(load_chat_model(chat_model))
        judges["judge"] = comparing.name if comparing else None
        detecting = _toxicity(toxicity, device)
        judges["toxicity"] = detecting.name

        def say(answer: SystemAnswer) -> None:
            status.update(f"Judged {answer.system} ...")

        made = judge_answers(
            answers,
            run / JUDGMENTS,
            {**judges, "against": against if comparing else None},
            reward=rewarding,
            toxicity=detecting,
            judge=comparing,
            against=against,
            on_judgment=say,
        )
        if (run / VARIANT_ANSWERS).exists():
            others = [SystemAnswer.from_dict(row) for row in ResumableFile.read(run / VARIANT_ANSWERS)[1]]
            made += judge_answers(others, run / _VARIANT_JUDGMENTS, judges, reward=rewarding, on_judgment=say)
            known = {
                row["key"]: row
                for file in (JUDGMENTS, _VARIANT_JUDGMENTS)
                for row in ResumableFile.read(run / file)[1]
            }
            (run / SWEEPS).unlink(missing_ok=True)  # rebuilt below from all judgments
            with ResumableFile(run / SWEEPS, judges) as file:
                for record in swept([*answers, *others], known, k=settings["k"]):
                    file.append(record["key"], record)
    console().print(printable(f"{run / JUDGMENTS}: {made} answers judged"), soft_wrap=True)


def _reward(
    status: Status,
    run: Path,
    name: str | None,
    label: str | None,
    settings: dict[str, Any],
    dtype: str | None,
    device: str | None,
) -> tuple[Reward, str]:
    status.update("Loading the reward model ...")
    if name is not None:
        from icdpo_chains.evaluation.judges.sequence_classifier import SequenceClassifierReward

        return SequenceClassifierReward.from_pretrained(name, device=device, label=label), name
    from icdpo_chains.evaluation.judges.reward_model import RewardModel

    model = options.model_config(settings["model"], dtype=dtype or settings["dtype"], device=device)
    policy = loading.load_policy(status, model)
    found = RewardModel.load(run / "judge", policy)  # type: ignore[arg-type]  # a TransformersPolicy
    return found, f"Bradley-Terry head on {policy.name}, {counted(len(found.trained_on), 'pair')}"


def _toxicity(name: str | None, device: str | None) -> Toxicity:
    from icdpo_chains.evaluation.judges.toxicity import HateSonar, ToxicityClassifier

    return HateSonar() if name is None else ToxicityClassifier.from_pretrained(name, device=device)
