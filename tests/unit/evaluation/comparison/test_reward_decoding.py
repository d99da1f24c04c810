"""Reward decoding equals sampling at weight 0, and a slow twin that reads each continuation anew."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GenerationConfig, LogitsProcessorList

from icdpo_chains.evaluation.comparison import reward_decoding
from icdpo_chains.evaluation.comparison.reward_decoding import RewardDecoding
from icdpo_chains.evaluation.judges.reward_model import RewardModel
from icdpo_chains.messages import Message
from icdpo_chains.policies.sampling import SamplingParams
from icdpo_chains.policies.transformers.policy import TransformersPolicy
from icdpo_chains.prompts.formats import prompt_format

from ..conftest import tiny_policy

SAMPLING = SamplingParams(max_new_tokens=20, top_p=1.0)


def random_reward(policy: TransformersPolicy, scale: float = 1.0) -> RewardModel:
    size = 2 * policy.model.config.hidden_size
    weights = np.random.default_rng(5).normal(0, scale, size)
    return RewardModel(policy, weights.astype(np.float32), 0.5)


def context_of(policy: TransformersPolicy, text: str = "Name a fruit, and say why.") -> list[int]:
    return prompt_format(policy.tokenizer, policy.eos_token_ids).context([Message("user", text)], [], None)


def plain_generate(
    policy: TransformersPolicy,
    context: Sequence[int],
    seed: int,
    processors: Sequence[Any] = (),
    **options: Any,
) -> tuple[int, ...]:
    config = GenerationConfig(
        max_new_tokens=20,
        min_new_tokens=1,
        do_sample=True,
        top_p=1.0,
        eos_token_id=sorted(policy.eos_token_ids),
        pad_token_id=0,
        **options,
    )
    torch.manual_seed(seed)
    ids = torch.tensor([list(context)])
    out = policy.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        generation_config=config,
        logits_processor=LogitsProcessorList(processors),
    )
    return tuple(out[0, len(context) :].tolist())


@pytest.mark.parametrize("seed", range(3))
def test_with_weight_0_it_is_top_k_sampling(any_tiny: TransformersPolicy, seed: int) -> None:
    context = context_of(any_tiny)
    decoding = RewardDecoding(any_tiny, random_reward(any_tiny), weight=0, top_k=7)
    assert decoding.generate(context, SAMPLING, seed)[0] == plain_generate(any_tiny, context, seed, top_k=7)


class SlowTwin:
    """Each continuation is read from its beginning, by the reward model itself."""

    def __init__(self, reward_model: RewardModel, begin: int, weight: float, top_k: int) -> None:
        self.reward_model, self.begin, self.weight, self.top_k = reward_model, begin, weight, top_k
        self.seen: list[torch.Tensor] = []

    def __call__(self, ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        new = torch.full_like(logits, -torch.inf)
        for token in logits[0].topk(self.top_k).indices.tolist():
            row = [*ids[0].tolist(), token]
            features = self.reward_model.features.of_token_ids([(row, len(row) - self.begin)])
            new[0, token] = logits[0, token] + self.weight * self.reward_model.rewards_of(features)[0]
        self.seen.append(new)
        return new


def test_it_equals_its_slow_twin(any_tiny: TransformersPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    context = context_of(any_tiny)
    reward_model = random_reward(any_tiny, 0.3)
    seen: list[torch.Tensor] = []

    class Watched(reward_decoding._Reweighting):
        def __call__(self, ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
            seen.append(super().__call__(ids, logits))
            return seen[-1]

    monkeypatch.setattr(reward_decoding, "_Reweighting", Watched)
    tokens, _ = RewardDecoding(any_tiny, reward_model, weight=1.5, top_k=5).generate(context, SAMPLING, 3)
    twin = SlowTwin(reward_model, len(context), 1.5, 5)
    assert tokens == plain_generate(any_tiny, context, 3, [twin], top_k=0)
    for found, slow in zip(seen, twin.seen, strict=True):
        torch.testing.assert_close(found, slow, rtol=1e-4, atol=1e-4)


def test_both_ways_of_branching_give_the_same_states(tiny: TransformersPolicy) -> None:
    shared, copied = (RewardDecoding(tiny, random_reward(tiny), weight=1.5, top_k=5) for _ in range(2))
    copied._shares = False
    context = context_of(tiny)
    assert shared.generate(context, SAMPLING, 1) == copied.generate(context, SAMPLING, 1)
    assert shared._shares


def test_a_larger_weight_gives_a_higher_reward(tiny: TransformersPolicy) -> None:
    reward_model = random_reward(tiny)
    context = context_of(tiny)
    means = []
    for weight in (-3, 0, 3):
        decoding = RewardDecoding(tiny, reward_model, weight=weight)
        answers = [decoding.generate(context, SAMPLING, seed)[0] for seed in range(6)]
        read = [((*context, *answer), len(answer)) for answer in answers]
        means.append(np.mean(reward_model.rewards_of(reward_model.features.of_token_ids(read))))
    assert means[0] < means[1] < means[2]


def test_the_same_seed_gives_the_same_answer_and_leaves_other_random_numbers_alone(
    tiny: TransformersPolicy,
) -> None:
    decoding = RewardDecoding(tiny, random_reward(tiny))
    context = context_of(tiny)
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    first = decoding.generate(context, SAMPLING, 4)
    assert torch.equal(torch.rand(3), expected)
    assert decoding.generate(context, SAMPLING, 4) == first
    assert decoding.generate(context, SAMPLING, 5) != first
    seeded = SamplingParams(max_new_tokens=20, top_p=1.0, seed=4)
    assert decoding.generate(context, seeded) == first


def test_temperature_0_takes_the_token_of_the_highest_sum(tiny: TransformersPolicy) -> None:
    greedy = SamplingParams(max_new_tokens=6, temperature=0)
    decoding = RewardDecoding(tiny, random_reward(tiny), top_k=4)
    context = context_of(tiny)
    tokens, _ = decoding.generate(context, greedy, 0)
    assert tokens == decoding.generate(context, greedy, 1)[0]
    twin = SlowTwin(random_reward(tiny), len(context), 1.0, 4)
    ids = list(context)
    for token in tokens:
        with torch.no_grad():
            logits = tiny.model(torch.tensor([ids])).logits[:, -1]
        if len(ids) == len(context):
            logits[0, sorted(tiny.eos_token_ids)] = -torch.inf
        assert int(twin(torch.tensor([ids]), logits).argmax()) == token
        ids.append(token)


def test_an_answer_ends_at_the_end_token_or_a_stop_string(tiny: TransformersPolicy) -> None:
    context = context_of(tiny)
    decoding = RewardDecoding(tiny, random_reward(tiny))
    tokens, text = decoding.generate(context, SamplingParams(max_new_tokens=30, top_p=1.0), 2)
    stop = text[2]
    cut, cut_text = decoding.generate(context, SamplingParams(max_new_tokens=30, top_p=1.0, stop=(stop,)), 2)
    assert cut_text == text[: text.index(stop)]
    assert tokens[: len(cut)] == cut
    enders = TransformersPolicy(tiny.model, tiny.tokenizer, "all tokens end")
    enders.eos_token_ids = frozenset(range(tiny.model.config.vocab_size))
    ended = RewardDecoding(enders, RewardModel(enders, np.zeros(96, dtype=np.float32)))
    assert len(ended.generate(context, SamplingParams(max_new_tokens=9, min_new_tokens=0), 0)[0]) == 1


def test_bad_arguments_are_refused(tiny: TransformersPolicy) -> None:
    reward_model = random_reward(tiny)
    with pytest.raises(ValueError, match="weight is inf"):
        RewardDecoding(tiny, reward_model, weight=float("inf"))
    with pytest.raises(TypeError, match="weight"):
        RewardDecoding(tiny, reward_model, weight="1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="top_k is 0"):
        RewardDecoding(tiny, reward_model, top_k=0)
    with pytest.raises(ValueError, match="hidden states of 'tiny-llama'"):
        RewardDecoding(tiny_policy(), reward_model)
    with pytest.raises(ValueError, match="empty"):
        RewardDecoding(tiny, reward_model).generate([], SAMPLING)
    with pytest.raises(ValueError, match="exceed the 512"):
        RewardDecoding(tiny, reward_model).generate([1] * 500, SAMPLING)
