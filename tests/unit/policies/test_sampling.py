import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper
from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

from icdpo_chains.policies.sampling import SamplingParams, check_count, choose_tokens, penalize_repetition


def reference_distribution(logits: torch.Tensor, sampling: SamplingParams) -> torch.Tensor:
    """The slow twin: transformers' own processors, one after the other."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(float(sampling.temperature))])
    if sampling.top_k is not None:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    return warpers(None, logits[None].double())[0].softmax(dim=-1)


SETTINGS = [
    SamplingParams(top_p=0.8),
    SamplingParams(top_p=1.0),
    SamplingParams(top_p=0.95, temperature=0.7),
    SamplingParams(top_p=1.0, top_k=5),
    SamplingParams(top_p=0.6, top_k=9, temperature=1.5),
    SamplingParams(top_p=0.01),
]


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
@pytest.mark.parametrize("vocabulary", [12, 700])
def test_the_distribution_is_that_of_transformers(sampling: SamplingParams, vocabulary: int) -> None:
    """700 tokens, nearly flat: the 512 likeliest do not reach top-p, so that all have to be sorted."""
    logits = torch.randn(vocabulary, generator=torch.Generator().manual_seed(3)) * (
        2 if vocabulary < 99 else 0.3
    )
    expected = reference_distribution(logits, sampling)
    draws = 20_000
    uniforms = torch.from_numpy(np.random.default_rng(5).random(draws))
    tokens = choose_tokens(logits.expand(draws, -1), uniforms, sampling)
    counts = np.bincount(tokens.numpy(), minlength=vocabulary)
    assert counts[expected.numpy() == 0].sum() == 0, "a token outside of the nucleus was sampled"
    likely = expected.numpy() * draws >= 8
    if likely.sum() > 1:
        observed = np.append(counts[likely], counts[~likely].sum())
        wanted = np.append(expected.numpy()[likely], expected.numpy()[~likely].sum()) * draws
        keep = wanted > 0
        wanted = wanted[keep] * observed[keep].sum() / wanted[keep].sum()
        assert stats.chisquare(observed[keep], wanted).pvalue > 1e-4


@given(
    st.integers(0, 2**32),
    st.floats(0.05, 1),
    st.floats(0.2, 3),
    st.none() | st.integers(1, 700),
    st.sampled_from([torch.float32, torch.bfloat16]),
)
@settings(max_examples=80, deadline=None)
def test_a_token_does_not_depend_on_the_other_rows(seed, top_p, temperature, top_k, dtype) -> None:
    """In bfloat16 many tokens are equally likely: their order must not depend on the other rows either."""
    sampling = SamplingParams(top_p=top_p, temperature=temperature, top_k=top_k)
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 900, generator=generator) * torch.tensor([[0.1], [1], [3], [9], [0.5], [2]])
    logits = logits.to(dtype).float()
    uniforms = torch.rand(6, generator=generator, dtype=torch.float64)
    together = choose_tokens(logits, uniforms, sampling)
    alone = [int(choose_tokens(logits[i : i + 1], uniforms[i : i + 1], sampling)) for i in range(6)]
    assert together.tolist() == alone
    for row, token in enumerate(alone):
        # Of tokens that are equally likely, the reference may have kept another one at the nucleus's edge.
        as_likely = logits[row] == logits[row, token]
        assert reference_distribution(logits[row], sampling)[as_likely].max() > 0


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_the_ends_of_the_unit_interval_are_safe(uniform: float) -> None:
    logits = torch.tensor([[0.0, 2.0, -math.inf, 1.0]])
    token = choose_tokens(logits, torch.tensor([uniform], dtype=torch.float64), SamplingParams(top_p=1.0))
    assert int(token) == (1 if uniform == 0 else 0)


def test_temperature_zero_is_greedy() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0]])
    uniforms = torch.tensor([0.99], dtype=torch.float64)
    assert choose_tokens(logits, uniforms, SamplingParams(temperature=0)).tolist() == [1]


def test_the_repetition_penalty_is_that_of_transformers() -> None:
    logits = torch.randn(1, 30, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[3, 4, 4, 9]])
    seen = torch.zeros(1, 30, dtype=torch.bool)
    seen[0, ids[0]] = True
    expected = RepetitionPenaltyLogitsProcessor(1.3)(ids, logits.clone())
    assert torch.equal(penalize_repetition(logits, seen, 1.3), expected)


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


def test_candidate_seeds_differ() -> None:
    draws = [tuple(np.random.default_rng([7, row]).random(4)) for row in range(50)]
    assert Counter(draws).most_common(1)[0][1] == 1
