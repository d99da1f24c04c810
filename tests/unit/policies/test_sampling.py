import math

import pytest

from icdpo_chains.foundation.validation import check_count
from icdpo_chains.policies.sampling import SamplingParams


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"temperature": math.nan}, ValueError),
        ({"temperature": -0.1}, ValueError),
        ({"temperature": math.inf}, ValueError),
        ({"temperature": "hot"}, TypeError),
        ({"temperature": True}, TypeError),
        ({"top_p": -1}, ValueError),
        ({"top_p": 0}, ValueError),
        ({"top_p": 1.1}, ValueError),
        ({"top_p": math.nan}, ValueError),
        ({"top_k": 0}, ValueError),
        ({"top_k": True}, TypeError),
        ({"max_new_tokens": 0}, ValueError),
        ({"max_new_tokens": 1.5}, TypeError),
        ({"min_new_tokens": -1}, ValueError),
        ({"min_new_tokens": False}, TypeError),
        ({"min_new_tokens": 129}, ValueError),
        ({"repetition_penalty": 0}, ValueError),
        ({"stop": [""]}, ValueError),
        ({"stop": [7]}, TypeError),
        ({"seed": -1}, ValueError),
        ({"seed": True}, TypeError),
        ({"seed": 1.0}, TypeError),
        ({"decoding": "beam"}, ValueError),
        ({"guidance": -1}, ValueError),
        ({"guidance": math.inf}, ValueError),
        ({"guidance": "much"}, TypeError),
        ({"alpha": 1.5}, ValueError),
        ({"alpha": True}, TypeError),
    ],
)
def test_bad_settings_name_the_value(options: dict[str, object], error: type[Exception]) -> None:
    (name,) = options
    with pytest.raises(error, match=name):
        SamplingParams(**options)  # type: ignore[arg-type]


def test_a_single_stop_string_is_one_string() -> None:
    assert SamplingParams(stop="END").stop == ("END",)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-1, ValueError), (10**9, ValueError), (True, TypeError)]
)
def test_counts_are_checked(value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="n "):
        check_count(value, "n", 256)
