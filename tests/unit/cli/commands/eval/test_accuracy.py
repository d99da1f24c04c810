"""`icdpo eval accuracy`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains import FakeEmbedder, FakePolicy
from icdpo_chains.cli import options
from icdpo_chains.config import ICDPOConfig

TOPICS = [
    "my cat",
    "the exam",
    "lost keys",
    "old bread",
    "a broken clock",
    "rain",
    "the garden",
    "a noisy road",
]


@pytest.fixture(autouse=True)
def fake_embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "embedder", FakeEmbedder)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "pairs.jsonl"
    rows = [
        {
            "prompt": f"What about {topic}?",
            "chosen": f"I am sorry. Shall we talk about {topic}?",
            "rejected": "Whatever.",
        }
        for topic in TOPICS
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_every_scorer_is_compared_on_the_same_pairs(icdpo: Any, file: str) -> None:
    run = icdpo(
        "eval",
        "accuracy",
        file,
        "-k",
        "1",
        "-k",
        "2",
        "--retriever",
        "bm25",
        "--retriever",
        "fixed",
        "--json",
    )
    assert run.exit_code == 0, run.stderr
    found = json.loads(run.stdout)
    assert (found["pairs"], found["skipped"]) == (8, 0)
    assert len(found["settings"]) == 6 * 2 * 2 + 3
    by_name = {(item["measure"], item["retriever"], item["k"]): item for item in found["settings"]}
    # The fake makes likelier what the demonstrations look like.
    assert by_name["rejected_mean", "bm25", 2]["accuracy"]["mean"] == 1
    assert by_name["length", None, None]["accuracy"]["mean"] == 1
    assert (
        icdpo(
            "eval",
            "accuracy",
            file,
            "-k",
            "1",
            "-k",
            "2",
            "--retriever",
            "bm25",
            "--retriever",
            "fixed",
            "--json",
        ).stdout
        == run.stdout
    )


def test_tables_show_intervals_and_length_gaps(icdpo: Any, file: str) -> None:
    run = icdpo("eval", "accuracy", file, "--pairs", "5", "--seed", "3")
    assert run.exit_code == 0, run.stderr
    for part in (
        "Preference accuracy, 5 pairs",
        "S^ mean",
        "two_stage",
        "random",
        "S^ sum (default)",
        "than after demonstrations with their rejected answers",
        "in tokens",
        "seed 3",
    ):
        assert part in run.stdout
    # All five pairs agree: the interval is Wilson's.
    assert "100.0% to 100.0%" not in run.stdout
    assert "56.6% to 100.0%" in run.stdout
    last = run.stdout.strip().splitlines()[-1]
    assert last.startswith("Verdict: the default score (S^ sum, two_stage, k = 2) agrees")
    assert "100% of 5 pairs right (95 % interval 57% to 100%; a coin has 50 %)" in last


def test_wording_and_format_are_options(icdpo: Any, file: str) -> None:
    plain = ["eval", "accuracy", file, "--json", "--pairs", "2"]
    default = json.loads(icdpo(*plain).stdout)["settings"]
    for option in (["--plain"], ["--chosen-instruction", ""], ["--rejected-instruction", "x"]):
        assert json.loads(icdpo(*plain, *option).stdout)["settings"] != default


def test_a_plot_is_drawn(icdpo: Any, file: str, tmp_path: Path) -> None:
    run = icdpo("eval", "accuracy", file, "--plot", str(tmp_path / "plots" / "c.svg"))
    assert run.exit_code == 0, run.stderr
    assert "S^ mean, two_stage" in (tmp_path / "plots" / "c.svg").read_text()


class Interrupted(FakePolicy):
    """Is stopped after some contexts."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def logprobs(self, context: Sequence[int], continuations: Sequence[Sequence[int]]) -> list[list[float]]:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().logprobs(context, continuations)


def test_an_interruption_reports_what_was_scored(
    icdpo: Any, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ICDPOConfig, "build_policy", lambda _: Interrupted(7))
    run = icdpo("eval", "accuracy", file, "--retriever", "bm25", "--json")
    assert run.exit_code == 130
    assert json.loads(run.stdout)["pairs"] == 2
    assert "icdpo: interrupted: 2 of 8 pairs were scored\n" in run.stderr
    monkeypatch.setattr(ICDPOConfig, "build_policy", lambda _: Interrupted(0))
    run = icdpo("eval", "accuracy", file)
    assert (run.exit_code, run.stdout) == (130, "")


def test_pairs_that_do_not_fit_are_replaced_and_counted(icdpo: Any, file: str, tmp_path: Path) -> None:
    long = {"prompt": "long " * 300, "chosen": "a", "rejected": "b"}
    both = tmp_path / "both.jsonl"
    both.write_text(Path(file).read_text() + json.dumps(long) + "\n{\n")
    run = icdpo("eval", "accuracy", str(both), "--max-context", "900", "--pairs", "9", "--json")
    found = json.loads(run.stdout)
    assert (found["pairs"], found["skipped"]) == (8, 1)
    assert run.stderr.startswith("icdpo: 1 row can't be used; the first: ")
    run = icdpo("eval", "accuracy", file, "--max-context", "20")
    assert run.exit_code == 1
    assert "no pair fits into 20 tokens" in run.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        ["--pairs", "0"],
        ["-k", "0"],
        ["--retriever", "best"],
        ["--max-context", "0"],
        ["--plot", "a.png"],
        ["--seed", "-1"],
    ],
)
def test_a_wrong_option_is_a_usage_error_before_anything_is_loaded(
    icdpo: Any, file: str, fakes: list[Any], wrong: list[str]
) -> None:
    run = icdpo("eval", "accuracy", file, *wrong)
    assert (run.exit_code, run.stdout) == (2, "")
    assert fakes == []


@pytest.mark.parametrize(
    "content", ["", '{"prompt": "p", "chosen": "a"}\n', '{"prompt": "p", "chosen": "a", "rejected": "a"}\n']
)
def test_a_file_without_pairs_is_one_line(icdpo: Any, tmp_path: Path, fakes: list[Any], content: str) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    run = icdpo("eval", "accuracy", str(tmp_path / "a.jsonl"))
    assert run.exit_code == 1
    assert "no preference pair" in run.stderr
    assert run.stderr.count("\n") == 1
    assert fakes == []
