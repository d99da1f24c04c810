"""A user's function as a reward; each fault of it is named."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains import Message
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.evaluation.judges.check import Check


def test_rewards_are_the_functions_results() -> None:
    asked: list[tuple[str, str]] = []

    def function(question: str, answer: str) -> bool:
        asked.append((question, answer))
        return answer.islower()

    conversation = [Message("system", "s"), Message("user", "How?")]
    assert Check(function).rewards(["What?", conversation], ["so", "So"]) == [1.0, 0.0]
    assert asked == [("What?", "so"), ("How?", "So")]
    assert Check(lambda question, answer: 0.25).rewards(["q"], ["a"]) == [0.25]


def test_a_function_of_the_current_directory_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_checks.py").write_text(
        "def short(question, answer):\n    return len(answer) < 3\nlimit = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    check = Check.load("own_checks:short")
    assert (check.name, check.rewards(["q", "q"], ["ab", "abc"])) == ("own_checks:short", [1.0, 0.0])
    for place, said in [
        ("own_checks", "MODULE:FUNCTION"),
        (":short", "MODULE:FUNCTION"),
        ("own_checks:", "MODULE:FUNCTION"),
        ("own_checks:long", "no function 'long'"),
        ("own_checks:limit", "no function 'limit'"),
        ("no_such_module_here:short", "can't be imported"),
    ]:
        with pytest.raises(InvalidInputError, match=said):
            Check.load(place)
    assert sys.path == before


@pytest.mark.parametrize("found", [None, "yes", float("nan"), float("inf"), [True]])
def test_another_result_is_refused(found: Any) -> None:
    with pytest.raises(InvalidInputError, match="return a bool or a finite number"):
        Check(lambda question, answer: found).rewards(["q"], ["a"])


def test_a_failing_function_is_named_with_its_answer() -> None:
    with pytest.raises(InvalidInputError, match=r"check fails for the answer 'abc'.*ZeroDivisionError"):
        Check(lambda question, answer: 1 / 0).rewards(["q"], ["abc"])
