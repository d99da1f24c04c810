"""The report as a whole: from files to a page and Markdown."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains import ICDPOError, Message
from icdpo_chains.evaluation.report.report import Report
from icdpo_chains.evaluation.system_answers import ScoredText, SystemAnswer
from icdpo_chains.foundation.jsonl import ResumableFile

HOSTILE = "<script>alert('x')</script> </div><img src=http://evil.test/i.png onerror=alert(1)> | a\n\n# b \x00\x1b[2J"
SYSTEMS = ("base", "icdpo", "random_of_n", "oracle_of_n", "new")
JUDGES = {"reward_model": "RM_test", "reward_accuracy": 0.68, "judge": "gpt", "toxicity": "profanity rate"}
SWEPT = [
    (factor, value) for factor, values in (("k", (0, 2)), ("source", ("people", HOSTILE))) for value in values
]


class Page(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def answer(system: str, prompt: int, *, text: str = "") -> SystemAnswer:
    candidates = tuple(
        ScoredText(f"{text}{i}", {"S": float(i), HOSTILE: -float(i)})
        for i in range(3 if system != "base" else 0)
    )
    return SystemAnswer(
        system,
        f"p{prompt}",
        (Message("user", f"question {prompt} {text}"),),
        f"{system} answers {prompt} {text}",
        f"reference {text}",
        1.0 + prompt,
        30,
        candidates,
    )


def write(path: Path, settings: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]]) -> Path:
    with ResumableFile(path, settings) as file:
        for key, record in records.items():
            file.append(key, record)
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Answers, judgments and sweeps of all kinds, full of hostile text."""
    answers = [answer(system, i, text=HOSTILE) for system in (*SYSTEMS, HOSTILE) for i in range(4)]
    judged = {
        item.key: {
            "reward": float(i % 7),
            "candidate_rewards": [0.5, None, 1.0] if item.candidates else [],
            "toxicity": 0.1,
            **({} if item.system == "base" else {"verdict": {"against": "base", "winner": "win"}}),
        }
        for i, item in enumerate(answers)
    }
    swept = {
        f"{factor}/{value}/{i}": {"factor": factor, "value": value, "prompt_id": f"p{i}", "reward": float(i)}
        for factor, value in SWEPT
        for i in range(3)
    }
    settings = {"model": "tiny", "seed": 3, "systems": [HOSTILE]}
    return (
        write(tmp_path / "answers.jsonl", settings, {item.key: item.to_dict() for item in answers}),
        write(tmp_path / "judgments.jsonl", JUDGES, judged),
        write(tmp_path / "sweeps.jsonl", {}, swept),
    )


def test_hostile_text_stays_text(files: tuple[Path, Path, Path]) -> None:
    html = Report.read(*files).html()
    page = Page(html)
    assert page.open == []
    kinds = {tag for tag, _ in page.tags}
    assert kinds.isdisjoint({"script", "img", "iframe", "link", "a", "object"})
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert not re.search("[\x00-\x08\x0b-\x1f]", html)


def test_the_page_needs_nothing_else(files: tuple[Path, Path, Path]) -> None:
    page = Page(Report.read(*files).html())
    targets = [
        value for _, attributes in page.tags for name, value in attributes.items() if name in ("href", "src")
    ]
    assert targets
    assert all(str(target).startswith("#") for target in targets)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_a_page_can_be_read_without_eyes(files: tuple[Path, Path, Path]) -> None:
    tags = Page(Report.read(*files).html()).tags
    assert dict(tags)["html"] == {"lang": "en"}
    assert [tag for tag, _ in tags].count("table") == [tag for tag, _ in tags].count("caption") == 4
    assert all("scope" in attributes for tag, attributes in tags if tag == "th")
    drawings = [attributes for tag, attributes in tags if tag == "svg"]
    assert len(drawings) == 4
    assert all(attributes["role"] == "img" and attributes["aria-labelledby"] for attributes in drawings)


def test_the_same_files_give_the_same_report(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    first = Report.read(*files, seed=1).write(tmp_path / "a" / "b")
    again = Report.read(*files, seed=1).write(tmp_path / "c")
    assert [file.name for file in first] == ["report.html", "report.md"]
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in again]
    other = Report.read(*files, seed=2).write(tmp_path / "c")
    assert [file.read_bytes() for file in first] != [file.read_bytes() for file in other]


def test_markdown_holds_every_table(files: tuple[Path, Path, Path]) -> None:
    markdown = Report.read(*files).markdown()
    headings = [line for line in markdown.splitlines() if line.startswith("#")]
    assert headings == [
        "# Evaluation",
        "## Comparison",
        "## Rank of the reward model's favourite candidate",
        "## Reward against number of demonstrations",
        "## Reward against source of demonstrations",
        "## How to read it",
        "## Settings",
    ]
    assert "<" not in markdown
    assert "- model: tiny" in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(rows) == 4 * 2 + (6 + 2 + 2 + 2)


def test_notes_say_what_the_figures_are_worth(files: tuple[Path, Path, Path]) -> None:
    notes = "\n".join(Report.read(*files).notes())
    for said in (
        "95 %",
        "in 68 %",
        "RM_test",
        "by gpt",
        "Profanity is by profanity rate",
        "Random of n is a control",
    ):
        assert said in notes
    assert "Oracle of n is a ceiling" in notes
    assert "equally many" not in notes


def test_without_judgments_there_is_still_a_report(files: tuple[Path, Path, Path]) -> None:
    report = Report.read(files[0])
    [table] = report.tables()
    assert not {"reward", "toxicity", "profanity"} & set(table.header)
    assert not any("p:" in note or "Rewards" in note or "95 %" in note for note in report.notes())
    page = Page(report.html())
    assert "svg" not in {tag for tag, _ in page.tags}
    assert "base answers 1" in report.html()


def test_judgments_may_be_incomplete(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    some = write(tmp_path / "some.jsonl", {}, {"base/p1": {"reward": 1.0}, "icdpo/p1": {"reward": None}})
    report = Report.read(files[0], some)
    assert report.summaries[0].system == "base"
    assert "23 of 24 answers have no reward" in "\n".join(report.notes())
    Page(report.html())


def test_samples_do_not_depend_on_the_order_of_the_file() -> None:
    answers = [answer(system, i) for i in range(9) for system in ("icdpo", "base")]
    answers.append(answer("base", 9))  # one that not all answered comes last
    shown = [
        re.findall(r"<bdi>question (\d)", Report(order).html(samples=4)) for order in (answers, answers[::-1])
    ]
    assert shown[0] == shown[1]
    assert len(set(shown[0])) == 4
    assert "9" not in shown[0]
    assert len(re.findall("<bdi>question", Report(answers).html(samples=99))) == 10
    assert "Sample answers" not in Report(answers).html(samples=0)
    with pytest.raises(ValueError, match="samples=-1"):
        Report(answers).html(samples=-1)


GOOD = answer("icdpo", 0).to_dict()


@pytest.mark.parametrize(
    ("answers", "judged", "said"),
    [
        ({}, {}, "answers.jsonl: there is no answer"),
        ({"icdpo/p0": {"system": "icdpo"}}, {}, "answers.jsonl: the record 'icdpo/p0' can't be used"),
        ({"icdpo/p0": {**GOOD, "seconds": None}}, {}, "seconds can't be None"),
        ({"icdpo/p0": {**GOOD, "candidates": 3}}, {}, "can't be used"),
        ({"icdpo/p0": {**GOOD, "prompt": ""}}, {}, "the question is blank"),
        (
            {"icdpo/p0": GOOD},
            {"icdpo/p9": {"reward": 1}},
            "judgments.jsonl: there is a judgment of 'icdpo/p9'",
        ),
        ({"icdpo/p0": GOOD}, {"icdpo/p0": {"candidate_rewards": [1]}}, "3 candidates, and 1 rewards"),
        ({"icdpo/p0": GOOD}, {"icdpo/p0": {"reward": "x"}}, "judgments.jsonl: the record 'icdpo/p0'"),
    ],
)
def test_files_that_can_not_be_used(tmp_path: Path, answers: Any, judged: Any, said: str) -> None:
    files = [write(tmp_path / "answers.jsonl", {}, answers), write(tmp_path / "judgments.jsonl", {}, judged)]
    with pytest.raises(ICDPOError) as error:
        Report.read(*files)
    assert said in str(error.value)


def test_other_files_are_named(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    wrong = write(tmp_path / "wrong.jsonl", {}, {"a": {"factor": 1}})
    for arguments, name in (
        ((empty,), "empty"),
        ((files[0], empty), "empty"),
        ((files[0], None, wrong), "wrong"),
    ):
        with pytest.raises(ICDPOError, match=f"{name}.jsonl") as error:
            Report.read(*arguments)
        assert str(error.value).count(f"{name}.jsonl") == 1


def test_missing_extras_are_named(files: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report.read(*files)
    for module in ("jinja2", "matplotlib.figure"):
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, module, None)
            with pytest.raises(ICDPOError, match=r"icdpo-chains\[eval\]"):
                report.html()


def test_importing_the_report_loads_no_drawing_library() -> None:
    code = "import sys, json, icdpo_chains.evaluation.report.report; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"matplotlib", "jinja2", "torch", "scipy"}.isdisjoint(json.loads(run.stdout))
