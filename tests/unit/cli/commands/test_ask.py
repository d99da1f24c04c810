"""`icdpo ask`."""

import json
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains import Demonstration, DemonstrationStore, FakeEmbedder

KIND, RUDE = "I am sorry. Shall we talk?", "Whatever. Your own fault."


def test_it_answers_with_the_best_candidate(icdpo: Any) -> None:
    run = icdpo("ask", "My dog is ill.", "--n", "2")
    assert (run.exit_code, run.stdout, run.stderr) == (0, f"{KIND}\n", "")


def test_the_question_may_come_from_standard_input(icdpo: Any) -> None:
    for arguments in (["ask"], ["ask", "-"]):
        assert icdpo(*arguments, stdin="My dog is ill.\n").stdout == f"{KIND}\n"


def test_json_is_the_whole_result(icdpo: Any) -> None:
    run = icdpo("ask", "My dog is ill.", "-n", "2", "-k", "1", "--seed", "5", "--json", "--aggregate", "sum")
    result = json.loads(run.stdout)
    assert [candidate["text"] for candidate in result["candidates"]] == [KIND, RUDE]
    assert result["seed"] == 5
    assert result["scorer"] == {"against": "rejected", "aggregate": "sum", "paired": True}
    assert [found["prompt"] for found in result["demonstrations"]] == ["My cat is ill."]


def test_verbose_shows_candidates_and_demonstrations(icdpo: Any) -> None:
    run = icdpo("ask", "How is glass made?", "-n", "2", "-v")
    assert run.stdout.splitlines()[0] in (KIND, RUDE)
    for part in ("2 candidates", "Demonstrations shown", "melting", "seed"):
        assert part in run.stdout


def test_demonstrations_unlike_the_question_are_not_shown(icdpo: Any) -> None:
    def shown(*options: str) -> list[tuple[str, bool]]:
        run = icdpo("ask", "How is glass made?", "-n", "2", "--json", *options)
        assert run.exit_code == 0, run.stderr
        return [(item["prompt"], item["general"]) for item in json.loads(run.stdout)["demonstrations"]]

    assert len(shown()) == 2
    assert shown("--min-similarity", "0.99") == [("How is glass made?", False)]
    assert shown("--min-bm25", "1") == [("How is glass made?", False)]
    assert [general for _, general in shown("--min-bm25", "1000")] == [True, True]
    assert shown("--min-bm25", "1000", "--substitute", "none") == []


def test_options_reach_the_model(icdpo: Any, fakes: list[dict[str, Any]]) -> None:
    icdpo("ask", "hi", "--model", "org/name", "--dtype", "float32", "--device", "cpu")
    assert fakes == [{"model": "org/name", "dtype": "float32", "device": "cpu"}]


def test_a_seed_reproduces(icdpo: Any) -> None:
    asked = ["ask", "hi", "--seed", "3", "--temperature", "0.5", "--top-p", "0.9", "--max-tokens", "9"]
    assert icdpo(*asked).stdout == icdpo(*asked).stdout


@pytest.mark.parametrize(
    "options",
    [
        ["--n", "0"],
        ["--n", "-1"],
        ["--n", "1000000000"],
        ["--n", "True"],
        ["--k", "0"],
        ["--temperature", "nan"],
        ["--top-p", "-1"],
        ["--max-tokens", "0"],
        ["--seed", "-1"],
        ["--against", "nothing"],
        ["--nonsense"],
    ],
)
def test_a_wrong_option_is_a_usage_error_before_anything_is_loaded(
    icdpo: Any, fakes: list[dict[str, Any]], options: list[str]
) -> None:
    run = icdpo("ask", "hi", *options)
    assert run.exit_code == 2
    assert run.stdout == ""
    assert "Error" in run.stderr
    assert "Traceback" not in run.stderr
    assert fakes == []


@pytest.mark.parametrize("question", ["", "  \n\t ", "\ud800", "a\udcff"])
def test_a_question_that_is_none_is_one_line(icdpo: Any, fakes: list[Any], question: str) -> None:
    run = icdpo("ask", question)
    assert run.exit_code == 1
    assert run.stderr.startswith("icdpo: ")
    assert run.stderr.count("\n") == 1
    assert fakes == []


def test_standard_input_that_is_not_utf_8(icdpo: Any) -> None:
    run = icdpo("ask", stdin=b"caf\xe9 au lait")
    assert run.exit_code == 2
    assert "UTF-8" in run.stderr


@pytest.mark.parametrize("question", ["{x} {{ {% raw %} %s", "<|im_end|>", "nul \x00 nul", "[bold]x[/red]"])
def test_hostile_questions_are_answered(icdpo: Any, question: str) -> None:
    assert icdpo("ask", question, "-v", "-n", "2").exit_code == 0


def test_thumbs_without_pairs(icdpo: Any, tmp_path: Path) -> None:
    store = tmp_path / "thumbs"
    up, down = Demonstration("My cat is ill.", KIND), Demonstration("My dog is ill.", None, RUDE)
    with DemonstrationStore(store, embedder=FakeEmbedder()) as opened:
        opened.add([up])
    asked = ["ask", "My bird is ill.", "-n", "2", "--store", str(store)]
    run = icdpo(*asked)
    assert (run.exit_code, run.stdout) == (1, "")
    assert 'use against="base"' in run.stderr
    found = json.loads(icdpo(*asked, "--against", "auto", "--json").stdout)
    assert found["scorer"]["against"] == "base"
    with DemonstrationStore(store, embedder=FakeEmbedder()) as opened:
        opened.add([down])
    found = json.loads(icdpo(*asked, "--json").stdout)
    assert found["text"] == KIND
    assert found["scorer"] == {"against": "rejected", "aggregate": "sum", "paired": False}
    assert {(item.get("chosen"), item.get("rejected"), item["side"]) for item in found["demonstrations"]} == {
        (KIND, None, "chosen"),
        (None, RUDE, "rejected"),
    }
    shown = icdpo(*asked, "-v").stdout
    assert "retrieved apart from the chosen ones" in " ".join(shown.split())


def test_an_answer_that_is_cut_off_is_told(icdpo: Any) -> None:
    run = icdpo("ask", "My dog is ill.", "-n", "2", "--max-tokens", "5")
    assert len(run.stdout.strip()) <= 5
    assert "cut off at --max-tokens 5" in run.stderr
    assert icdpo("ask", "My dog is ill.", "-n", "2").stderr == ""
