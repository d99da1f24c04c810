"""`html_page`: a report as one HTML page."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

from icdpo_chains.errors import ICDPOError
from icdpo_chains.evaluation.comparison.catalog import SYSTEM_ENTRIES, label
from icdpo_chains.evaluation.comparison.comparison import Judgment
from icdpo_chains.evaluation.report.charts import ChartPoint, cost_chart, sweep_chart
from icdpo_chains.evaluation.report.contents import ReportContents
from icdpo_chains.evaluation.report.tables import visible
from icdpo_chains.evaluation.system_answers import SystemAnswer
from icdpo_chains.messages import Message

__all__ = ["html_page"]


@dataclass(frozen=True)
class _Shown:
    """One answer of a sample: its system, and its reward in words."""

    label: str
    text: str
    reward: str


@dataclass(frozen=True)
class _Sample:
    """One prompt with the systems' answers."""

    prompt: tuple[Message, ...]
    reference: str
    answers: tuple[_Shown, ...]


def html_page(report: ReportContents, samples: int) -> str:
    """Returns a report as a page without scripts or external resources; all texts are escaped.

    Args:
        report: the report.
        samples: the number of prompts with answers.

    Raises:
        ICDPOError: Jinja or Matplotlib is not installed.
        ValueError: `samples` is negative.
    """
    if samples < 0:
        raise ValueError(f"samples={samples}: give 0 or more prompts")
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise ICDPOError(
            'the HTML report needs Jinja, which is not installed: pip install "icdpo-chains[eval]"'
        ) from None
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["visible"] = visible
    template = resources.files("icdpo_chains.evaluation.report").joinpath("report.html.j2")
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        tables=report.tables(),
        # Our own drawings, with all texts escaped already.
        main_figures=[Markup(svg) for svg in _cost_charts(report)],  # noqa: S704
        sweep_figures=[Markup(svg) for svg in _sweep_charts(report)],  # noqa: S704
        notes=report.notes(),
        settings=report.setting_lines(),
        samples=_samples(report, samples),
    )


def _kind(system: str) -> str:
    return SYSTEM_ENTRIES[system].kind if system in SYSTEM_ENTRIES else "other"


def _cost_charts(report: ReportContents) -> Iterator[str]:
    for name, axis in (("seconds", "seconds per answer"), ("tokens", "tokens sampled per answer")):
        points = [
            ChartPoint(label(item.system), getattr(item, name), item.reward, _kind(item.system))
            for item in report.summaries
            if item.reward is not None
        ]
        if points:
            yield cost_chart(points, cost=axis, name=name)


def _sweep_charts(report: ReportContents) -> Iterator[str]:
    for position, sweep in enumerate(report.sweeps):
        yield sweep_chart(
            [point.value for point in sweep.points],
            [point.reward for point in sweep.points],
            axis=sweep.name,
            name=f"sweep-{position}",
        )


def _samples(report: ReportContents, count: int) -> list[_Sample]:
    """Returns the prompts with the most answers; ties in the order of a hash of their ids."""
    by_prompt: dict[str, list[SystemAnswer]] = {}
    for item in report.answers:
        by_prompt.setdefault(item.prompt_id, []).append(item)
    order = sorted(by_prompt, key=lambda prompt: (-len(by_prompt[prompt]), _hash(prompt)))
    place = {item.system: i for i, item in enumerate(report.summaries)}
    samples = []
    for prompt in order[:count]:
        answers = sorted(by_prompt[prompt], key=lambda answer: place[answer.system])
        rewards = [report.judgments.get(answer.key, Judgment()).reward for answer in answers]
        shown = (
            _Shown(label(answer.system), answer.text, "" if reward is None else f"{reward:.2f}")
            for answer, reward in zip(answers, rewards, strict=True)
        )
        samples.append(_Sample(answers[0].prompt, answers[0].reference, tuple(shown)))
    return samples


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
