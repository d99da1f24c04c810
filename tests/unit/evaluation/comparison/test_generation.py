"""A run continues after a stop, and ends as if it had never stopped."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest

from icdpo_chains import Demonstration, Message
from icdpo_chains.errors import ContextOverflowError, InvalidInputError
from icdpo_chains.evaluation.comparison.generation import (
    FailedAnswer,
    Generated,
    generate_answers,
    prompt_seed,
)
from icdpo_chains.evaluation.comparison.systems import SystemOutput
from icdpo_chains.evaluation.system_answers import ScoredText, SystemAnswer
from icdpo_chains.foundation.jsonl import ResumableFile

PROMPTS = [Demonstration(f"Question {i}?", f"Answer {i}.", "No.") for i in range(3)]


class Echo:
    """Answers with the question and the seed; raises at the calls that it was told."""

    def __init__(self, raises: dict[int, BaseException] | None = None) -> None:
        self.raises, self.calls = raises or {}, count()

    def answer(self, conversation: Sequence[Message], seed: int) -> SystemOutput:
        error = self.raises.get(next(self.calls))
        if error is not None:
            raise error
        text = f"{conversation[-1].content} {seed}"
        return SystemOutput(text, 3, (ScoredText(text, {"S": 0.5}), ScoredText("other", {"S": None})))


def run(path: Path, systems: dict[str, Echo], built: list[str] | None = None) -> Generated:
    def build(name: str) -> Echo:
        if built is not None:
            built.append(name)
        return systems[name]

    clock = iter(range(1000))
    return generate_answers(
        list(systems), build, PROMPTS, path, {"seed": 5}, seed=5, clock=lambda: float(next(clock))
    )


def test_each_system_answers_each_prompt(tmp_path: Path) -> None:
    done = run(tmp_path / "answers.jsonl", {"base": Echo(), "icdpo": Echo()})
    assert done == Generated(6, 0, ())
    _, rows = ResumableFile.read(tmp_path / "answers.jsonl")
    answers = [SystemAnswer.from_dict(row) for row in rows]
    assert [answer.key for answer in answers] == [
        f"{name}/{row.id}" for name in ("base", "icdpo") for row in PROMPTS
    ]
    first = answers[0]
    assert first.text == f"Question 0? {prompt_seed(5, PROMPTS[0])}"
    assert (first.reference, first.seconds, first.tokens) == ("Answer 0.", 1.0, 3)
    assert first.candidates[1] == ScoredText("other", {"S": None})
    assert SystemAnswer.from_dict(first.to_dict()) == first


@pytest.mark.parametrize("stop", range(6))
def test_a_stop_anywhere_is_gone_on_with(tmp_path: Path, stop: int) -> None:
    run(tmp_path / "whole.jsonl", {"base": Echo(), "icdpo": Echo()})
    path = tmp_path / "stopped.jsonl"
    stopped = {0: KeyboardInterrupt()}
    raises = [{stop: KeyboardInterrupt()}, {}] if stop < 3 else [{}, {stop - 3: stopped[0]}]
    with pytest.raises(KeyboardInterrupt):
        run(path, {"base": Echo(raises[0]), "icdpo": Echo(raises[1])})
    assert run(path, {"base": Echo(), "icdpo": Echo()}) == Generated(6 - stop, stop, ())
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_what_is_complete_is_not_built(tmp_path: Path) -> None:
    run(tmp_path / "answers.jsonl", {"base": Echo()})
    built: list[str] = []
    done = run(tmp_path / "answers.jsonl", {"base": Echo(), "icdpo": Echo()}, built)
    assert built == ["icdpo"]
    assert (done.added, done.already_there) == (3, 3)


def test_a_prompt_that_fails_is_listed_and_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    done = run(path, {"base": Echo({1: ContextOverflowError("too long")})})
    assert done == Generated(2, 0, (FailedAnswer("base", PROMPTS[1].id, "too long"),))
    assert run(path, {"base": Echo()}) == Generated(1, 2, ())


def test_other_settings_are_refused(tmp_path: Path) -> None:
    run(tmp_path / "answers.jsonl", {"base": Echo()})
    with pytest.raises(InvalidInputError, match="seed: 5, now 6"):
        generate_answers(["base"], lambda _: Echo(), PROMPTS, tmp_path / "answers.jsonl", {"seed": 6})


def test_the_seed_of_a_prompt_is_its_own() -> None:
    assert len({prompt_seed(seed, row) for seed in range(5) for row in PROMPTS}) == 15
    assert all(0 <= prompt_seed(0, row) < 2**63 for row in PROMPTS)
