"""Every answer is judged once, whatever stops the judge, and a sweep over n needs no further answer."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from icdpo_chains import Message
from icdpo_chains.evaluation.comparison.comparison import Judgment, check_judgments
from icdpo_chains.evaluation.judges.judging import judge_answers, swept
from icdpo_chains.evaluation.judges.pairwise_judge import PairwiseJudge
from icdpo_chains.evaluation.report.report import Report
from icdpo_chains.evaluation.system_answers import ScoredText, SystemAnswer
from icdpo_chains.foundation.jsonl import ResumableFile
from icdpo_chains.messages import Conversation


def answer(system: str, prompt_id: str, text: str, *candidates: tuple[str, float]) -> SystemAnswer:
    texts = tuple(ScoredText(words, {"S^, sum": score}) for words, score in candidates)
    prompt = (Message("user", f"Question {prompt_id}"),)
    return SystemAnswer(system, prompt_id, prompt, text, "reference", 1.0, 5, texts)


ANSWERS = [
    answer("base", "p", "short"),
    answer("base", "q", "a longer one"),
    answer("icdpo", "p", "the longest answer", ("tiny", 0.1), ("the longest answer", 0.9)),
    answer("icdpo", "q", "no", ("no", 0.1)),
]


class Length:
    """Longer is better; stops when it was told."""

    name = "length"

    def __init__(self, stop: int = 1000) -> None:
        self.left = stop

    def rewards(self, conversations: Sequence[Conversation], responses: Sequence[str]) -> list[float]:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return [float(len(text)) for text in responses]

    def scores(self, texts: Sequence[str]) -> list[float]:
        return [1 / len(text) for text in texts]


class Longer:
    """A chat model that says that the longer answer is better, or nonsense about question q."""

    def invoke(self, messages: Any) -> Any:
        text = str(messages)
        if "Question q" in text:
            return SimpleNamespace(content="I like turtles.")
        a, b = text.index("short"), text.index("the longest answer")
        return SimpleNamespace(content=f"VERDICT: {'B' if a < b else 'A'}")


def judged(path: Path, stop: int = 1000, **more: Any) -> dict[str, Judgment]:
    judge_answers(ANSWERS, path, {"judge": 1}, reward=Length(stop), toxicity=Length(), **more)
    return {row["key"]: Judgment.from_dict(row) for row in ResumableFile.read(path)[1]}


def test_answers_and_their_candidates_get_rewards(tmp_path: Path) -> None:
    found = judged(tmp_path / "judgments.jsonl")
    check_judgments(ANSWERS, found)
    assert found["icdpo/p"].reward == len("the longest answer")
    assert found["icdpo/p"].candidate_rewards == (4.0, 18.0)
    assert found["base/p"].candidate_rewards == ()
    assert found["base/p"].toxicity == pytest.approx(1 / 5)
    assert found["icdpo/p"].winner is None


def test_a_chat_model_compares_with_one_system_and_a_failure_is_no_win(tmp_path: Path) -> None:
    judge = PairwiseJudge(Longer(), retries=0)
    found = judged(tmp_path / "judgments.jsonl", judge=judge)
    assert (found["icdpo/p"].winner, found["icdpo/p"].against) == ("win", "base")
    assert found["icdpo/q"].winner == "failed"
    assert found["base/p"].winner is None


def test_a_judge_that_always_takes_the_first_is_reported(tmp_path: Path) -> None:
    first = SimpleNamespace(invoke=lambda messages: SimpleNamespace(content="VERDICT: A"))
    found = judged(tmp_path / "judgments.jsonl", judge=PairwiseJudge(first))
    assert (found["icdpo/p"].winner, found["icdpo/p"].disagreed) == ("tie", True)
    notes = Report(ANSWERS, found).notes()
    assert any(note.startswith("In 100 % of 2 verdicts the order") for note in notes)
    fair = judged(tmp_path / "fair.jsonl", judge=PairwiseJudge(Longer(), retries=0))
    assert any(note.startswith("In 0 % of 1 verdicts") for note in Report(ANSWERS, fair).notes())


@pytest.mark.parametrize("stop", range(4))
def test_a_stop_anywhere_is_gone_on_with(tmp_path: Path, stop: int) -> None:
    whole = judged(tmp_path / "whole.jsonl")
    with pytest.raises(KeyboardInterrupt):
        judged(tmp_path / "stopped.jsonl", stop)
    assert judged(tmp_path / "stopped.jsonl") == whole
    assert (tmp_path / "stopped.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_the_sweep_over_n_is_the_best_of_the_first_n() -> None:
    scores = [0.2, 0.1, 0.5, 0.4, 0.9]
    texts = [(f"text {i}", score) for i, score in enumerate(scores)]
    main = answer("icdpo_retrieved", "p", "text 4", *texts)
    rewards = [10.0, 20.0, 30.0, 40.0, 50.0]
    known = {main.key: {"reward": 50.0, "candidate_rewards": rewards}}
    found = {(row["factor"], row["value"]): row["reward"] for row in swept([main], known, k=2)}
    for n in (1, 2, 4, 5):
        best = max(range(n), key=scores.__getitem__)  # the slow twin
        assert found["n", n] == rewards[best]
    assert set(found) == {("n", 1), ("n", 2), ("n", 4), ("n", 5), ("k", 2), ("source", "retrieved rows")}


def test_the_other_sweeps_are_the_variants() -> None:
    systems = ("k=4", "source=starter set", "icdpo_upgraded", "base", "k=4")
    answers = [answer(system, "p", str(i)) for i, system in enumerate(systems)]
    known = {each.key: {"reward": float(i)} for i, each in enumerate(answers[:4])}
    found = [(row["factor"], row["value"], row["reward"]) for row in swept(answers, known, k=2)]
    assert found == [("k", 4, 0.0), ("source", "starter set", 1.0), ("source", "random rows", 2.0)]
