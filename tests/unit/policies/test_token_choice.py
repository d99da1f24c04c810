"""How tokens are chosen; the slow twin is transformers' own processors."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper
from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

from icdpo_chains.policies.sampling import SamplingParams
from icdpo_chains.policies.token_choice import choose_tokens, penalize_repetition


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
    SamplingParams(top_p=0.1),
]


def streams(rows: int, seed: int = 5) -> Callable[[Sequence[int]], list[float]]:
    """Each row's own random numbers, one after the other."""
    own = [np.random.default_rng([seed, row]) for row in range(rows)]
    return lambda asked: [own[row].random(dtype=np.float32) for row in asked]


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
@pytest.mark.parametrize("vocabulary", [12, 700])
def test_the_distribution_is_that_of_transformers(sampling: SamplingParams, vocabulary: int) -> None:
    """Few tokens, one of which stands out, and many that are about as likely as each other."""
    logits = torch.randn(vocabulary, generator=torch.Generator().manual_seed(3)) * (
        2 if vocabulary < 99 else 0.3
    )
    expected = reference_distribution(logits, sampling)
    draws = 20_000
    tokens = choose_tokens(logits.expand(draws, -1), streams(draws), sampling)
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
    """In bfloat16, many tokens are equally likely."""
    sampling = SamplingParams(top_p=top_p, temperature=temperature, top_k=top_k)
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 900, generator=generator) * torch.tensor([[0.1], [1], [3], [9], [0.5], [2]])
    logits = logits.to(dtype).float()
    together = choose_tokens(logits, streams(6, seed), sampling)
    draw = streams(6, seed)
    alone = [int(choose_tokens(logits[i : i + 1], lambda _, i=i: draw([i]), sampling)) for i in range(6)]
    assert together.tolist() == alone
    for row, token in enumerate(alone):
        # Of tokens that are equally likely, the reference may have left this one outside.
        as_likely = logits[row] == logits[row, token]
        assert reference_distribution(logits[row], sampling)[as_likely].max() > 0


@pytest.mark.parametrize("top_p", [0.5, 1.0])
@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-24])
def test_the_ends_of_the_unit_interval_are_safe(uniform: float, top_p: float) -> None:
    """The first and the last token have no probability, and are not sampled."""
    logits = torch.tensor([[-math.inf, 0.0, 5.0, 0.0, -math.inf]]) * torch.ones(300, 1)
    tokens = choose_tokens(logits, lambda rows: [uniform] * len(rows), SamplingParams(top_p=top_p))
    assert set(tokens.tolist()) == ({2} if top_p < 1 else {1} if uniform == 0 else {3})


@pytest.mark.parametrize("temperature", [5e-324, 1e-38, 0.001, 1, 100])
@pytest.mark.parametrize("top_p", [5e-324, 1e-46, 1e-9, 0.3, 1 - 1e-9, 1])
def test_extreme_settings_come_to_an_end(temperature: float, top_p: float) -> None:
    logits = torch.randn(4, 5000, generator=torch.Generator().manual_seed(0)) * 30
    sampling = SamplingParams(temperature=temperature, top_p=top_p)
    tokens = choose_tokens(logits, streams(4), sampling)
    if top_p <= 1e-9 or temperature <= 0.001:
        assert tokens.tolist() == logits.argmax(-1).tolist()


def test_equally_likely_tokens_are_inside_or_outside_together() -> None:
    logits = torch.tensor([[3.0, 1.0, 1.0, 1.0, 1.0, -4.0]]).expand(4000, -1)
    tokens = choose_tokens(logits, streams(4000), SamplingParams(top_p=0.7))  # the first one has 0.65
    counts = tokens.bincount(minlength=6)
    assert counts[5] == 0
    assert stats.chisquare(counts[1:5].numpy()).pvalue > 1e-4


def test_temperature_zero_is_greedy() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0]])
    assert choose_tokens(logits, streams(1), SamplingParams(temperature=0)).tolist() == [1]


def test_the_repetition_penalty_is_that_of_transformers() -> None:
    logits = torch.randn(1, 30, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[3, 4, 4, 9]])
    seen = torch.zeros(1, 30, dtype=torch.bool)
    seen[0, ids[0]] = True
    expected = RepetitionPenaltyLogitsProcessor(1.3)(ids, logits.clone())
    assert torch.equal(penalize_repetition(logits, seen, 1.3), expected)


def test_candidate_seeds_differ() -> None:
    draws = [tuple(np.random.default_rng([7, row]).random(4)) for row in range(50)]
    assert Counter(draws).most_common(1)[0][1] == 1
