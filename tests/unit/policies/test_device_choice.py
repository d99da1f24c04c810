"""Choosing without waits against `TokenChooser`, the slow twin, which waits after each try."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from icdpo_chains.errors import PolicyError
from icdpo_chains.policies import device_choice, numbers_ahead
from icdpo_chains.policies.device_choice import DeviceTokenChooser, most_tries
from icdpo_chains.policies.guidance import Guidance
from icdpo_chains.policies.sampling import SampleRequest, SamplingParams
from icdpo_chains.policies.token_choice import Chooser, ChooserOf, TokenChooser

from .waits import Waits

CPU = torch.device("cpu")
EOS = {1, 3}


def rows_of(requests: list[SampleRequest]) -> list[tuple[SampleRequest, int]]:
    return [(request, number) for request in requests for number in range(request.n)]


def logits_of(rows: int, vocabulary: int, seed: int, scale: float = 2.0) -> torch.Tensor:
    return torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed)) * scale


def build(
    kind: ChooserOf, requests: list[SampleRequest], vocabulary: int, scale: float
) -> tuple[Chooser, Guidance | None]:
    guided = [request for request in requests if request.sampling.guided]
    guidance = None
    if guided:
        steps = iter(range(100, 1000))

        def step(tokens: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
            return logits_of(len(tokens), vocabulary, next(steps), scale)

        first = list(logits_of(len(guided), vocabulary, 99, scale))
        guidance = Guidance(first, step, requests)
    return kind(rows_of(requests), EOS, vocabulary, CPU, guidance), guidance


def run(
    kind: ChooserOf, requests: list[SampleRequest], vocabulary: int, scale: float, drops: dict[int, list[int]]
) -> list[Any]:
    """The choices of all steps; `drops` says which rows leave before which step."""
    chooser, guidance = build(kind, requests, vocabulary, scale)
    batch = list(range(sum(request.n for request in requests)))
    chosen: list[Any] = []
    for position in range(12):
        batch = [row for row in batch if row not in drops.get(position, [])]
        logits = logits_of(len(batch), vocabulary, position, scale)
        if guidance is not None and position > 0:
            guidance.read(torch.zeros(len(batch), dtype=torch.long), batch)
        forced = {0: 7, len(batch) - 1: 9} if position == 4 else {}
        choice = chooser.choose(logits, batch, position, forced)
        assert choice.tokens.tolist() == choice.token_ids
        if guidance is not None:
            guidance.record(choice.tokens, batch)
        chosen.append((choice.token_ids, choice.logprobs))
    if guidance is not None:
        chosen.append(guidance.recorded())
    return chosen


SETTINGS = st.builds(
    SamplingParams,
    max_new_tokens=st.just(12),
    min_new_tokens=st.sampled_from([1, 1, 9]),
    temperature=st.sampled_from([0, 1, 1, 0.7, 1.9, 5e-324]),
    top_p=st.sampled_from([1.0, 0.8, 0.8, 0.95, 0.3, 1e-9, 1 - 1e-9, 5e-324]),
    top_k=st.sampled_from([None, None, 1, 7, 10_000]),
    repetition_penalty=st.sampled_from([1.0, 1.0, 1.3, 0.8]),
    seed=st.integers(0, 3),
    decoding=st.sampled_from(["sample", "sample", "guided"]),
    guidance=st.sampled_from([0, 0.5, 2]),
    alpha=st.sampled_from([0, 0.1, 1]),
)


@given(
    st.lists(
        st.builds(SampleRequest, st.just([5, 6, 9]), st.integers(1, 4), SETTINGS, contrast=st.just([2])),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([0.1, 2.0, 9.0]),
    st.sampled_from([1, 2, None]),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_tokens_and_logprobs_are_those_of_the_twin(requests, scale, tries, few_numbers) -> None:
    """To the bit: also with more than one round of tries, and when rows leave."""
    rows = sum(request.n for request in requests)
    drops = {3: [0], 6: list(range(1, rows - 1, 2))} if rows > 2 else {}
    with pytest.MonkeyPatch.context() as patch:
        if tries is not None:
            patch.setattr(device_choice, "most_tries", lambda top_p: tries)
        if few_numbers:  # new numbers every few steps
            patch.setattr(numbers_ahead, "_AHEAD", 9)
        ours = run(DeviceTokenChooser, requests, 300, scale, drops)
    assert ours == run(TokenChooser, requests, 300, scale, drops)


@pytest.mark.parametrize("top_p", [1.0, 0.95, 0.8, 0.5, 0.1])
def test_the_tries_almost_always_suffice(top_p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among many tokens that are about equally likely, which need the most tries."""
    rounds: list[int] = []
    attempt = DeviceTokenChooser._try

    def count(self: DeviceTokenChooser, *args: Any) -> None:
        rounds.append(1)
        attempt(self, *args)

    sampling = SamplingParams(top_p=top_p, seed=1)
    requests = [SampleRequest([1], 200, sampling)]
    chooser = DeviceTokenChooser(rows_of(requests), EOS, 2000, CPU)
    monkeypatch.setattr(DeviceTokenChooser, "_try", count)
    for position in range(20):
        logits = logits_of(1, 2000, position, 0.1).expand(200, -1)
        chooser.choose(logits, list(range(200)), position, {})
    assert sum(rounds) <= 21  # one round a step: in 4,000 choices, 0.04 rounds more are expected


@pytest.mark.parametrize("top_p", [0.99, 0.95, 0.8, 0.5, 0.1, 1e-9])
def test_the_number_of_tries_follows_the_poisson_distribution(top_p: float) -> None:
    outside = stats.poisson(-math.log(top_p))
    assert outside.sf(most_tries(top_p) - 1) <= 1e-5 < outside.sf(most_tries(top_p) - 2)


def test_a_round_of_tries_has_an_end() -> None:
    assert most_tries(1.0) == 1
    assert most_tries(5e-324) == 64


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(
    "sampling",
    [SamplingParams(), SamplingParams(temperature=0), SamplingParams(top_k=3)],
    ids=["top_p", "greedy", "top_k"],
)
def test_logits_that_are_no_numbers_are_refused(value: float, sampling: SamplingParams) -> None:
    logits = torch.zeros(2, 40)
    logits[1, 8] = value
    chooser = DeviceTokenChooser(rows_of([SampleRequest([1], 2, sampling)]), EOS, 40, CPU)
    with pytest.raises(PolicyError, match="NaN"):
        chooser.choose(logits, [0, 1], 0, {})


@pytest.mark.parametrize("seed", [None, 5])
def test_rows_have_their_own_numbers(seed: int | None) -> None:
    sampling = SamplingParams(top_p=1.0, seed=seed)
    requests = [SampleRequest([1], 300, sampling)]
    first = DeviceTokenChooser(rows_of(requests), EOS, 50, CPU)
    again = DeviceTokenChooser(rows_of(requests), EOS, 50, CPU)
    batch, logits = list(range(300)), torch.zeros(300, 50)
    tokens = first.choose(logits, batch, 0, {}).token_ids
    assert len(set(tokens)) > 40
    assert (tokens == again.choose(logits, batch, 0, {}).token_ids) == (seed is not None)


MIXED = [
    SampleRequest([4, 5], 3, SamplingParams(max_new_tokens=40, seed=1)),
    SampleRequest([4], 2, SamplingParams(max_new_tokens=40, seed=2, temperature=0.6, min_new_tokens=30)),
    SampleRequest([4], 2, SamplingParams(max_new_tokens=40, temperature=0)),
    SampleRequest([4], 2, SamplingParams(max_new_tokens=40, top_k=9, repetition_penalty=1.2)),
    SampleRequest([4], 2, SamplingParams(max_new_tokens=40, decoding="guided"), contrast=[3]),
]


@pytest.mark.parametrize("requests", [MIXED[:1], MIXED[4:], MIXED], ids=["alike", "guided", "mixed"])
def test_a_step_waits_once_and_copies_nothing_to_the_device(requests: list[SampleRequest]) -> None:
    chooser, guidance = build(DeviceTokenChooser, requests, 300, 2.0)
    batch = list(range(sum(request.n for request in requests)))
    with Waits() as waits:
        for position in range(30):
            logits = logits_of(len(batch), 300, position)
            waits.clear()
            tokens = chooser.choose(logits, batch, position, {1: 8} if position == 9 else {}).tokens
            if guidance is not None:
                guidance.record(tokens, batch)
                guidance.read(tokens, batch)
            # The first step copies the random numbers, and where the guided rows are.
            if position > 0:
                assert (dict(waits.to_host), waits.to_device) == ({"cpu": 1}, 0)


def test_the_twin_waits_at_each_try() -> None:
    """Shows that the count sees waits."""
    chooser, _ = build(TokenChooser, MIXED, 300, 2.0)
    with Waits() as waits:
        chooser.choose(logits_of(11, 300, 0), list(range(11)), 0, {})
    assert sum(waits.to_host.values()) > 10
    assert waits.to_device > 3


def test_the_count_sees_what_stops_a_device() -> None:
    table = torch.arange(6.0).view(2, 3)
    one = torch.tensor(1)
    calls = {
        "item": lambda: table[0, 0].item(),
        "bool": lambda: bool(one),
        "tolist": lambda: table.tolist(),
        "cpu": lambda: table.cpu(),
        "to": lambda: table.to("cpu"),
        "mask": lambda: table[table > 1],
        "masked": lambda: table.__setitem__(table > 1, 0.0),
        "nonzero": lambda: table.nonzero(),
        "scalar index": lambda: table[one],
        "repeat": lambda: table.repeat_interleave(torch.tensor([1, 2]), 0),
    }
    for name, call in calls.items():
        with Waits() as waits:
            call()
        assert sum(waits.to_host.values()) >= 1, name
    copies = {
        "list": lambda: torch.tensor([1, 2]),
        "index": lambda: table[[1, 0]],
        "numpy": lambda: torch.from_numpy(np.zeros(2)),
    }
    for name, call in copies.items():
        with Waits() as waits:
            call()
        assert waits.to_device >= 1, name
    with Waits() as waits:
        places = torch.arange(2)
        table[places].softmax(-1).masked_fill(table > 1, 0).index_copy(0, places, table)
    assert (dict(waits.to_host), waits.to_device) == ({}, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_counts_one_wait_a_step() -> None:
    device = torch.device("cuda")
    chooser = DeviceTokenChooser(rows_of(MIXED[:4]), EOS, 300, device)
    batch, logits = list(range(9)), logits_of(9, 300, 0).to(device)
    chooser.choose(logits, batch, 0, {})
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="synchronizing") as warned:
            chooser.choose(logits, batch, 1, {})
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(warned) == 1
