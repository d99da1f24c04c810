"""Each system is the procedure that its name says."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from icdpo_chains import ICDPO, Demonstration, FixedDemonstrations, InstantScorer, Message, SamplingParams
from icdpo_chains.evaluation.comparison.reward_decoding import RewardDecoding
from icdpo_chains.evaluation.comparison.systems import (
    BestOfN,
    FewShot,
    ICDPOSystem,
    RewardAugmented,
    SelectedOfN,
    ZeroShot,
)
from icdpo_chains.evaluation.judges.reward_model import RewardModel
from icdpo_chains.messages import Conversation
from icdpo_chains.policies.transformers.policy import TransformersPolicy
from icdpo_chains.prompts.formats import prompt_format

SAMPLING = SamplingParams(max_new_tokens=10, top_p=0.9)
QUESTION = (Message("user", "Say cherry."),)


class Length:
    """Longer is better."""

    name = "length"

    def rewards(self, conversations: Sequence[Conversation], responses: Sequence[str]) -> list[float]:
        assert len(conversations) == len(responses)
        return [float(len(text.encode())) for text in responses]


@pytest.fixture
def icdpo(tiny: TransformersPolicy, pairs: list[Demonstration]) -> ICDPO:
    return ICDPO(tiny, FixedDemonstrations(pairs[:2]), InstantScorer(), n=4, sampling=SAMPLING)


def bare_samples(tiny: TransformersPolicy, n: int, seed: int) -> list[str]:
    form = prompt_format(tiny.tokenizer, tiny.eos_token_ids)
    samples = tiny.sample(form.context(QUESTION, [], None), n, replace(SAMPLING, seed=seed))
    return [sample.text for sample in samples]


def test_the_base_is_one_sample_without_demonstrations(tiny: TransformersPolicy) -> None:
    drawn = ZeroShot(tiny, SAMPLING).answer(QUESTION, 3)
    assert [drawn.text] == bare_samples(tiny, 1, 3)
    assert 1 <= drawn.tokens <= 10
    assert drawn.candidates == ()


def test_best_of_n_is_the_candidate_with_the_highest_reward(tiny: TransformersPolicy) -> None:
    drawn = BestOfN(tiny, SAMPLING, Length(), 5).answer(QUESTION, 3)
    texts = bare_samples(tiny, 5, 3)
    assert [item.text for item in drawn.candidates] == texts
    assert drawn.text == max(texts, key=lambda text: len(text.encode()))
    assert all(item.scores["length"] == len(item.text.encode()) for item in drawn.candidates)


def test_best_of_one_is_sampling(tiny: TransformersPolicy) -> None:
    for seed in range(3):
        one = BestOfN(tiny, SAMPLING, Length(), 1).answer(QUESTION, seed)
        single = ZeroShot(tiny, SAMPLING).answer(QUESTION, seed)
        assert (one.text, one.tokens) == (single.text, single.tokens)


def test_reward_decoding_is_that_of_its_module(tiny: TransformersPolicy, pairs: list[Demonstration]) -> None:
    decoding = RewardDecoding(tiny, RewardModel.fit(tiny, pairs), weight=3, top_k=4)
    form = prompt_format(tiny.tokenizer, tiny.eos_token_ids)
    tokens, text = decoding.generate(form.context(QUESTION, [], None), SAMPLING, 5)
    drawn = RewardAugmented(tiny, SAMPLING, decoding).answer(QUESTION, 5)
    assert (drawn.text, drawn.tokens) == (text, len(tokens))


def test_few_shot_is_the_first_candidate_of_icdpo(icdpo: ICDPO) -> None:
    drawn = FewShot(icdpo).answer(QUESTION, 5)
    first = next(item for item in icdpo.generate(QUESTION, seed=5).candidates if item.index == 0)
    assert (drawn.text, drawn.tokens) == (first.text, first.num_tokens)


@pytest.mark.parametrize(("against", "name"), [("rejected", "S^"), ("base", "S")])
def test_icdpo_keeps_its_candidates_in_order_and_their_scores(icdpo: ICDPO, against: str, name: str) -> None:
    icdpo.scorer = InstantScorer(against)  # type: ignore[arg-type]
    drawn = ICDPOSystem(icdpo).answer(QUESTION, 5)
    result = icdpo.generate(QUESTION, seed=5)
    assert drawn.text == result.text
    assert drawn.tokens == sum(item.num_tokens for item in result.candidates)
    for item in result.candidates:
        kept = drawn.candidates[item.index]
        assert kept.text == item.text
        assert kept.scores[f"{name}, sum"] == pytest.approx(sum(item.token_scores))
        assert kept.scores[f"{name}, mean"] == pytest.approx(sum(item.token_scores) / item.num_tokens)


def test_control_and_ceiling_choose_among_the_same_candidates(icdpo: ICDPO) -> None:
    scored = ICDPOSystem(icdpo).answer(QUESTION, 5)
    texts = [item.text for item in scored.candidates]
    oracle = SelectedOfN.by(Length(), icdpo).answer(QUESTION, 5)
    assert [item.text for item in oracle.candidates] == texts
    assert oracle.text == max(texts, key=lambda text: len(text.encode()))
    picks = set()
    for seed in range(12):
        drawn = SelectedOfN.at_random(icdpo).answer(QUESTION, seed)
        assert drawn == SelectedOfN.at_random(icdpo).answer(QUESTION, seed)
        picks.add([item.text for item in drawn.candidates].index(drawn.text))
    assert len(picks) > 1, "always the same place is no random choice"
