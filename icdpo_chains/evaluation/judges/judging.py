"""`judge_answers`: writes the judgments of all answers into a file that a later run continues."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icdpo_chains.evaluation.system_answers import SystemAnswer
from icdpo_chains.foundation.jsonl import ResumableFile

if TYPE_CHECKING:
    from icdpo_chains.evaluation.judges.pairwise_judge import PairwiseJudge
    from icdpo_chains.evaluation.judges.reward import Reward
    from icdpo_chains.evaluation.judges.toxicity import Toxicity

__all__ = ["judge_answers", "swept"]

_OUTCOMES = {"first": "win", "second": "loss", "tie": "tie", "failed": "failed"}


def judge_answers(
    answers: Sequence[SystemAnswer],
    path: str | Path,
    settings: Mapping[str, Any],
    *,
    reward: Reward | None = None,
    toxicity: Toxicity | None = None,
    judge: PairwiseJudge | None = None,
    against: str = "base",
    on_judgment: Callable[[SystemAnswer], None] = lambda _: None,
) -> int:
    """Judges answers and writes each judgment at once.

    Args:
        answers: the answers of all systems.
        path: the file; answers with a judgment in the file are not judged again.
        settings: of the file; see `ResumableFile`.
        reward: judges each answer and its candidates by a number.
        toxicity: judges each answer.
        judge: compares each answer with that of one system.
        against: the name of this system.
        on_judgment: called after each answer.

    Returns:
        How many answers were judged.

    Raises:
        InvalidInputError: the file has different settings.
    """
    rivals = {answer.prompt_id: answer for answer in answers if answer.system == against}
    judged = 0
    with ResumableFile(path, settings) as file:
        for answer in answers:
            if answer.key in file.records:
                continue
            record: dict[str, Any] = {}
            if reward is not None:
                texts = list(dict.fromkeys([answer.text, *(item.text for item in answer.candidates)]))
                values = reward.rewards([answer.prompt] * len(texts), texts)
                rewards = dict(zip(texts, values, strict=True))
                record["reward"] = rewards[answer.text]
                record["candidate_rewards"] = [rewards[item.text] for item in answer.candidates]
            if toxicity is not None:
                (record["toxicity"],) = toxicity.scores([answer.text])
            rival = rivals.get(answer.prompt_id)
            if judge is not None and rival is not None and answer.system != against:
                verdict = judge.compare(answer.prompt, answer.text, rival.text)
                outcome = {
                    "against": against,
                    "winner": _OUTCOMES[verdict.winner],
                    "disagreed": verdict.disagreed,
                }
                record["verdict"] = {**verdict.to_dict(), **outcome}
            file.append(answer.key, record)
            judged += 1
            on_judgment(answer)
    return judged


def swept(
    answers: Iterable[SystemAnswer],
    judgments: Mapping[str, Mapping[str, Any]],
    *,
    system: str = "icdpo_retrieved",
    unretrieved: str = "icdpo_upgraded",
    k: int,
    source: str = "retrieved rows",
    measure: str = "S^, sum",
) -> list[dict[str, Any]]:
    """Returns the records of the sweeps over k, n and the source of demonstrations.

    The sweeps over k and the source hold the rewards of the variants (see `experiment.VARIANTS`) and of the
    system. The sweep over n needs no further answers: candidate i depends on the seed and i alone, so the
    first n candidates are those of a smaller n.

    Args:
        answers: of the system and its variants.
        judgments: by the answers' keys.
        system: the name of the system.
        unretrieved: the name of the system with demonstrations drawn at random.
        k: how many demonstrations the system shows.
        source: names the system's own demonstrations.
        measure: the score by which the system picks.
    """
    records: dict[str, dict[str, Any]] = {}

    def add(factor: str, value: float | str, prompt_id: str, reward: float | None) -> None:
        key = f"{factor}={value}/{prompt_id}"
        # A variant may equal the system itself; its record is then the same.
        records.setdefault(
            key, {"key": key, "factor": factor, "value": value, "prompt_id": prompt_id, "reward": reward}
        )

    for answer in answers:
        judgment = judgments.get(answer.key, {})
        reward = judgment.get("reward")
        factor, _, value = answer.system.partition("=")
        if factor == "k" and value.isdecimal():
            add("k", int(value), answer.prompt_id, reward)
        elif factor == "source":
            add("source", value, answer.prompt_id, reward)
        elif answer.system == unretrieved:
            add("source", "random rows", answer.prompt_id, reward)
        elif answer.system == system:
            add("k", k, answer.prompt_id, reward)
            add("source", source, answer.prompt_id, reward)
            rewards = judgment.get("candidate_rewards") or []
            for n, best in _best_of_first(answer, measure):
                if n <= len(rewards):
                    add("n", n, answer.prompt_id, rewards[best])
    return list(records.values())


def _best_of_first(answer: SystemAnswer, measure: str) -> Iterable[tuple[int, int]]:
    """For n = 1, 2, 4, ... and all candidates: the place of the best of the first n."""
    known = [item.scores.get(measure) for item in answer.candidates]
    scores = [-float("inf") if score is None else score for score in known]
    counts = {2**power for power in range(len(scores).bit_length()) if 2**power <= len(scores)} | {
        len(scores)
    }
    for n in sorted(counts - {0}):
        yield n, scores.index(max(scores[:n]))
