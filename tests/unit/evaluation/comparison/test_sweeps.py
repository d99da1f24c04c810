"""Reward over one setting."""

import pytest

from icdpo_chains import ICDPOError
from icdpo_chains.evaluation.comparison.sweeps import sweeps
from icdpo_chains.evaluation.statistics import bootstrap


def record(factor: object, value: object, reward: object) -> dict[str, object]:
    return {"key": f"{factor}/{value}", "factor": factor, "value": value, "prompt_id": "p", "reward": reward}


def test_rewards_are_grouped_by_setting_and_value() -> None:
    rows = [record("source", "people", 1.0), record("source", "a teacher", 2.0)]
    rows += [record("k", k, reward) for k, reward in ((8, 1.0), (0, 3.0), (0, 5.0), (8, None), (2, None))]
    by_k, by_source = sweeps(rows)
    assert [(point.value, point.reward, point.prompts) for point in by_k.points] == [
        (0, bootstrap([3.0, 5.0]), 2),
        (8, bootstrap([1.0]), 1),
    ]
    assert [point.value for point in by_source.points] == ["people", "a teacher"]
    assert (by_k.name, by_source.name) == ("number of demonstrations", "source of demonstrations")


@pytest.mark.parametrize(
    "row",
    [
        record(None, 1, 1.0),
        record("k", None, 1.0),
        record("k", True, 1.0),
        record("k", [1], 1),
        record("k", 1, "x"),
        {},
    ],
)
def test_what_is_no_record_is_refused(row: dict[str, object]) -> None:
    with pytest.raises(ICDPOError, match="needs a factor"):
        sweeps([row])
