import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.scoring import InstantScorer

LOGPROBS = st.floats(min_value=-1e3, max_value=0)


@given(st.lists(st.tuples(LOGPROBS, LOGPROBS), min_size=1))
def test_sum_and_mean_are_those_of_the_differences(pairs: list[tuple[float, float]]) -> None:
    expert, contrast = zip(*pairs, strict=True)
    by_sum = InstantScorer(aggregate="sum").score(expert, contrast)
    by_mean = InstantScorer(aggregate="mean").score(expert, contrast)
    assert by_sum.value == pytest.approx(sum(expert) - sum(contrast), abs=1e-6)
    assert by_mean.value == pytest.approx(by_sum.value / len(pairs), abs=1e-9)
    assert by_sum.token_scores == tuple(e - c for e, c in pairs)
    assert by_sum.expert_logprob == pytest.approx(sum(expert))
    assert by_sum.contrast_logprob == pytest.approx(sum(contrast))


@pytest.mark.parametrize(
    ("expert", "contrast"),
    [
        ([], []),
        ([math.nan], [-1.0]),
        ([-1.0], [math.nan]),
        ([-1.0, -1.0], [-1.0, -math.inf]),
        ([-math.inf], [-1.0]),
        ([-math.inf], [-math.inf]),
        ([math.inf, -1.0], [-1.0, math.inf]),
    ],
)
@pytest.mark.parametrize("aggregate", ["sum", "mean"])
def test_what_is_not_finite_or_empty_never_wins(expert, contrast, aggregate) -> None:
    assert InstantScorer(aggregate=aggregate).score(expert, contrast).value == -math.inf


def test_sides_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 expert and 2 contrast"):
        InstantScorer().score([-1.0], [-1.0, -2.0])


@pytest.mark.parametrize("options", [{"against": "nobody"}, {"aggregate": "median"}])
def test_unknown_names_list_the_known_ones(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="is unknown: use '"):
        InstantScorer(**options)  # type: ignore[arg-type]
