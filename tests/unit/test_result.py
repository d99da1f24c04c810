"""A result as values: the best candidate, JSON, and errors for results without an answer."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from icdpo_chains import Candidate, Demonstration, ICDPOResult, RetrievedDemonstration
from icdpo_chains.errors import NoCandidateError
from icdpo_chains.result import Usage

PAIR = Demonstration("How are you?", "Well, thank you.", "Go away.")
UP = Demonstration("Who are you?", "A program.")


def candidate(text: str, score: float, **fields: Any) -> Candidate:
    values: dict[str, Any] = {"expert_logprob": -1.5, "contrast_logprob": -2.0, "num_tokens": 2, "index": 0}
    values |= {"token_ids": (1, 2), "token_scores": (0.25, 0.25), "finish_reason": "stop"}
    return Candidate(text, score, **{**values, **fields})


def result(
    *candidates: Candidate, shown: tuple[RetrievedDemonstration, ...] = (), **fields: Any
) -> ICDPOResult:
    values: dict[str, Any] = {"timings": {"score": 0.1}, "model": "fake", "against": "rejected"}
    values |= {"dropped": (UP,), "usage": Usage(10, 12, 4), "aggregate": "sum", "seed": 3}
    return ICDPOResult(candidates, shown, **{**values, **fields})


def test_the_first_candidate_is_the_answer() -> None:
    found = result(candidate("good", 0.5, index=1), candidate("bad", -0.5))
    assert (found.best.index, found.text, str(found)) == (1, "good", "good")
    assert found.checked() is found


def test_everything_is_json_and_a_number_that_is_not_finite_is_null() -> None:
    shown = (RetrievedDemonstration(PAIR, 7.5, 0.9),)
    found = result(candidate("good", 0.5), candidate("", -math.inf), shown=shown)
    whole = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [item["score"] for item in whole["candidates"]] == [0.5, None]
    assert (whole["demonstrations"][0]["id"], whole["demonstrations"][0]["similarity"]) == (PAIR.id, 0.9)
    assert whole["dropped"] == [UP.id]
    assert whole["usage"] == {"prompt_tokens": 10, "contrast_tokens": 12, "completion_tokens": 4}
    table = json.loads(json.dumps(found.score_table(), allow_nan=False))
    assert (table["selected"], table["demonstrations"]) == (0, [PAIR.id])


@pytest.mark.parametrize(
    ("shown", "against", "paired"),
    [(PAIR, "rejected", True), (PAIR, "base", False), (UP, "rejected", False)],
)
def test_paired(shown: Demonstration, against: str, paired: bool) -> None:
    found = result(candidate("good", 0.5), shown=(RetrievedDemonstration(shown),), against=against)
    assert found.scorer == {"against": against, "aggregate": "sum", "paired": paired}


def test_a_result_without_an_answer_is_an_error_with_its_reason() -> None:
    with pytest.raises(NoCandidateError, match="no candidate can be scored"):
        result(candidate("", -math.inf)).checked()
    with pytest.raises(NoCandidateError, match="still thinking at the length limit"):
        result(candidate("", -math.inf, reasoning="Hm.", finish_reason="length")).checked()
    with pytest.raises(NoCandidateError, match="has an answer after its thought"):
        result(candidate("", -math.inf, reasoning="Hm.")).checked()


def test_the_best_candidate_of_a_form() -> None:
    prose, other, data = candidate("words", 3.0), candidate("{}", -math.inf), candidate("[1]", 1.0)
    found = result(prose, data, other)
    assert found.best_fitting(lambda texts: [text[0] in "[{" for text in texts]) is data
    assert found.best_fitting(lambda texts: [False for _ in texts]) is prose


def test_the_thought_counts_as_tokens() -> None:
    assert candidate("good", 0.5, reasoning="Hm.", reasoning_tokens=5).total_tokens == 7
