"""The reward model learns what can be learned, reads answers as its slow twin does, and refuses bad input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.errors import DemonstrationError, InvalidInputError, PolicyError, PolicyMemoryError
from icdpo_chains.evaluation.judges.answer_features import AnswerFeatures
from icdpo_chains.evaluation.judges.reward_model import MIN_PAIRS, RewardModel
from icdpo_chains.messages import Message
from icdpo_chains.policies.fake import FakePolicy
from icdpo_chains.policies.transformers.policy import TransformersPolicy
from icdpo_chains.prompts.formats import prompt_format

from ..conftest import tiny_policy

LONG = "word " * 300


@pytest.fixture(scope="module")
def model(tiny: TransformersPolicy, pairs: list[Demonstration]) -> RewardModel:
    return RewardModel.fit(tiny, pairs[:16])


def slow_features(policy: TransformersPolicy, prompt: str, answer: str, limit: int = 512) -> np.ndarray:
    """One text at a time through the whole model, as its public interface gives hidden states."""
    form = prompt_format(policy.tokenizer, policy.eos_token_ids)
    context = form.context([Message("user", prompt)], [], None)
    ids = form.answer(answer, ended=True)
    whole = (context + ids)[-limit:]
    with torch.no_grad():
        out = policy.model(torch.tensor([whole]), output_hidden_states=True)
    states = out.hidden_states[-1][0, -min(len(ids), limit) :]
    return torch.cat([states[-1], states.mean(0)]).numpy()


def test_a_batch_reads_what_the_slow_twin_reads(any_tiny: TransformersPolicy) -> None:
    prompts = ["Hello", "What is a fig?", LONG, "x", "y", "Name a fruit"]
    answers = ["hi", "a fruit", "yes", LONG, "", "<|im_end|> pear"]
    found = AnswerFeatures(any_tiny).of(prompts, answers)
    slow = np.stack([slow_features(any_tiny, *pair) for pair in zip(prompts, answers, strict=True)])
    np.testing.assert_allclose(found, slow, rtol=1e-4, atol=1e-4)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), min_size=1, max_size=6))
def test_an_answer_s_reward_does_not_depend_on_its_neighbours(model: RewardModel, texts: list[str]) -> None:
    together = model.rewards(["Say fig."] * len(texts), texts)
    alone = [model.rewards(["Say fig."], [text])[0] for text in texts]
    assert together == pytest.approx(alone, abs=1e-4)


def test_it_tells_separable_pairs_apart(model: RewardModel, pairs: list[Demonstration]) -> None:
    assert model.accuracy(pairs[:16]) == 1
    assert model.accuracy(pairs[16:]) >= 0.9  # words that it has not seen with these digits
    assert model.held_out_accuracy is not None
    assert model.held_out_accuracy >= 0.9
    assert model.trained_on == {pair.id for pair in pairs[:16]}


def test_swapped_preferences_reverse_the_reward(
    model: RewardModel, tiny: TransformersPolicy, pairs: list[Demonstration]
) -> None:
    swapped = [Demonstration(pair.prompt, str(pair.rejected), pair.chosen) for pair in pairs[:16]]
    reversed_model = RewardModel.fit(tiny, swapped)
    np.testing.assert_allclose(reversed_model.weights, -model.weights, atol=1e-4)


def test_preferences_by_chance_are_not_learned(tiny: TransformersPolicy) -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdefgh"), 12)) for _ in range(80)]
    noise = [Demonstration(f"q{i}", *texts[2 * i : 2 * i + 2]) for i in range(40)]
    accuracy = RewardModel.fit(tiny, noise).held_out_accuracy
    assert accuracy is not None
    assert 0.2 < accuracy < 0.8  # were both orders of a pair in different folds, this would be 1


def test_one_pair_many_times_is_held_out_whole(tiny: TransformersPolicy) -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdefgh"), 12)) for _ in range(40)]
    noise = [Demonstration(f"q{i}", *texts[2 * i : 2 * i + 2]) for i in range(20)]
    accuracy = RewardModel.fit(tiny, noise * 3).held_out_accuracy
    assert accuracy is not None
    assert accuracy < 0.85


def test_the_likelihood_is_at_its_maximum(tiny: TransformersPolicy, pairs: list[Demonstration]) -> None:
    """The gradient of Bradley and Terry's penalized likelihood, written down plainly, vanishes."""
    from icdpo_chains.evaluation.judges.reward_model import _fitted

    differences = np.random.default_rng(1).normal(size=(50, 6)) + 0.3
    weights = _fitted(differences, 0.1)
    wrong = 1 / (1 + np.exp(differences @ weights))  # the likelihood of the other order
    gradient = weights / 0.1 - 2 * (wrong[:, None] * differences).sum(axis=0)
    np.testing.assert_allclose(gradient, 0, atol=1e-2)


def test_the_same_seed_gives_the_same_model(
    model: RewardModel, tiny: TransformersPolicy, pairs: list[Demonstration]
) -> None:
    again = RewardModel.fit(tiny, pairs[:16])
    assert np.array_equal(again.weights, model.weights)
    assert again.offset == model.offset


def test_the_policy_stays_as_it_is(model: RewardModel, tiny: TransformersPolicy) -> None:
    untouched = tiny_policy()
    ids = torch.arange(1, 30)[None]
    with torch.no_grad():
        assert torch.equal(tiny.model(ids).logits, untouched.model(ids).logits)


def test_the_mean_reward_of_what_it_was_fitted_from_is_zero(
    model: RewardModel, pairs: list[Demonstration]
) -> None:
    both = [pair.chosen for pair in pairs[:16]] + [str(pair.rejected) for pair in pairs[:16]]
    assert np.mean(model.rewards([pair.prompt for pair in pairs[:16]] * 2, both)) == pytest.approx(
        0, abs=1e-4
    )


def test_a_tie_counts_half(tiny: TransformersPolicy, pairs: list[Demonstration]) -> None:
    assert RewardModel(tiny, np.zeros(96, dtype=np.float32)).accuracy(pairs) == 0.5


def test_rows_without_a_rejected_answer_are_skipped_and_counted(
    tiny: TransformersPolicy, pairs: list[Demonstration]
) -> None:
    bare = [Demonstration("Say kiwi.", "kiwi")]
    fitted = RewardModel.fit(tiny, [*pairs[:MIN_PAIRS], *bare])
    assert fitted.skipped == 1
    assert len(fitted.trained_on) == MIN_PAIRS
    with pytest.raises(DemonstrationError, match="none of 1"):
        fitted.accuracy(bare)


@pytest.mark.parametrize("count", [0, MIN_PAIRS - 1])
def test_too_few_pairs_are_refused(tiny: TransformersPolicy, pairs: list[Demonstration], count: int) -> None:
    with pytest.raises(DemonstrationError, match=f"{count} of {count} demonstrations .* at least 8"):
        RewardModel.fit(tiny, pairs[:count])


def test_a_policy_without_hidden_states_is_refused(pairs: list[Demonstration]) -> None:
    with pytest.raises(TypeError, match="FakePolicy"):
        RewardModel.fit(FakePolicy(), pairs)  # type: ignore[arg-type]


def test_bad_texts_are_refused(model: RewardModel) -> None:
    with pytest.raises(ValueError, match="2 conversations and 1 answers"):
        model.rewards(["a", "b"], ["c"])
    with pytest.raises(InvalidInputError, match="surrogate"):
        model.rewards(["a"], ["\ud800"])
    assert model.rewards([], []) == []


@pytest.mark.parametrize("most", [1, 3])
def test_a_device_for_a_few_texts_gives_the_same_features(
    tiny: TransformersPolicy, pairs: list[Demonstration], most: int
) -> None:
    features, prompts = AnswerFeatures(tiny), [pair.prompt for pair in pairs]
    answers = [pair.chosen + " or not" * count for count, pair in enumerate(pairs)]
    expected = features.of(prompts, answers)
    sizes: list[int] = []

    def look(module: object, args: object, kwargs: dict[str, Any]) -> None:
        if len(kwargs["input_ids"]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        sizes.append(len(kwargs["input_ids"]))

    hook = features.backbone.register_forward_pre_hook(look, with_kwargs=True)
    try:
        np.testing.assert_allclose(features.of(prompts, answers), expected, atol=1e-4)
        assert sum(sizes) == len(pairs)  # nothing is read twice
        most = 0
        with pytest.raises(PolicyMemoryError, match=r"can't hold a text of \d+ tokens: lower max_context"):
            features.of(prompts, answers)
    finally:
        hook.remove()


def test_a_broken_model_is_refused(pairs: list[Demonstration]) -> None:
    broken = tiny_policy()
    broken.model.get_input_embeddings().weight.data.fill_(torch.nan)
    with pytest.raises(PolicyError, match="not finite"):
        RewardModel.fit(broken, pairs)


def test_saved_and_loaded_it_gives_the_same_rewards(
    model: RewardModel, tiny: TransformersPolicy, tmp_path: Path
) -> None:
    model.save(tmp_path / "new" / "reward")
    loaded = RewardModel.load(tmp_path / "new" / "reward", tiny)
    assert loaded.rewards(["Say fig."], ["fig"]) == model.rewards(["Say fig."], ["fig"])
    assert loaded.trained_on == model.trained_on
    assert (loaded.name, loaded.held_out_accuracy) == (model.name, model.held_out_accuracy)


def test_another_model_and_broken_files_are_refused(
    model: RewardModel, tiny: TransformersPolicy, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match="no reward model"):
        RewardModel.load(tmp_path, tiny)
    model.save(tmp_path)
    other = TransformersPolicy(tiny.model, tiny.tokenizer, "other")
    with pytest.raises(PolicyError, match=r"'tiny-llama'.*'other'"):
        RewardModel.load(tmp_path, other)
    with pytest.raises(PolicyError, match="weights of shape"):
        RewardModel(tiny, np.zeros(3, dtype=np.float32))
    weights = tmp_path / "reward_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:20])
    with pytest.raises(InvalidInputError, match="no reward model"):
        RewardModel.load(tmp_path, tiny)
    (tmp_path / "reward_model.json").write_text(json.dumps(["not", "an", "object"]))
    with pytest.raises(InvalidInputError, match="no reward model"):
        RewardModel.load(tmp_path, tiny)
