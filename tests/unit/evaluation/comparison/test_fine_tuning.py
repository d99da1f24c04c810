"""Fine-tuning learns the answers and nothing else, on a copy, and the same way each time."""

import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.errors import DemonstrationError, InvalidInputError, PolicyError
from icdpo_chains.evaluation.comparison.fine_tuning import FineTuned, _batch, _Row, fine_tune
from icdpo_chains.policies.fake import FakePolicy
from icdpo_chains.policies.sampling import SamplingParams
from icdpo_chains.policies.transformers.policy import TransformersPolicy
from icdpo_chains.prompts.formats import prompt_format

from ..conftest import tiny_policy

SETTINGS: dict[str, Any] = {"epochs": 4, "learning_rate": 0.01, "batch_size": 4}
IDS = torch.arange(1, 60)[None]


@pytest.fixture(scope="module", autouse=True)
def _no_network() -> Iterator[None]:
    def refuse(*args: Any) -> None:
        raise AssertionError(f"tried to connect to {args[1:]}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture(scope="module")
def base() -> TransformersPolicy:
    return tiny_policy()


@pytest.fixture(scope="module")
def rows(pairs: list[Demonstration]) -> list[Demonstration]:
    return [Demonstration(pair.prompt, "abcabcabc") for pair in pairs[:12]]


@pytest.fixture(scope="module")
def tuned(
    base: TransformersPolicy, rows: list[Demonstration], tmp_path_factory: pytest.TempPathFactory
) -> FineTuned:
    return fine_tune(base, rows, directory=tmp_path_factory.mktemp("lora"), **SETTINGS)


def logits_of(policy: TransformersPolicy) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = policy.model(IDS).logits
    return logits


def test_the_loss_goes_down_and_the_answers_change(
    tuned: FineTuned, base: TransformersPolicy, rows: list[Demonstration]
) -> None:
    assert tuned.loss_after < 0.8 * tuned.loss_before
    context = prompt_format(base.tokenizer, base.eos_token_ids).context(rows[0].messages, [], None)
    greedy = SamplingParams(max_new_tokens=12, temperature=0)
    before, after = (policy.sample(context, 1, greedy)[0].text for policy in (base, tuned.policy))
    assert before != after
    assert tuned.trained_on == {row.id for row in rows}


def test_the_losses_are_those_of_the_answers_tokens(
    tuned: FineTuned, base: TransformersPolicy, rows: list[Demonstration]
) -> None:
    form = prompt_format(base.tokenizer, base.eos_token_ids)
    read = [_Row(form.context(row.messages, [], None), form.answer(row.chosen, ended=True)) for row in rows]
    batch = _batch(read)
    for policy, expected in ((base, tuned.loss_before), (tuned.policy, tuned.loss_after)):
        with torch.no_grad():
            loss = policy.model(**batch).loss  # transformers' own
        assert float(loss) == pytest.approx(expected, abs=1e-3)


def test_a_batch_counts_the_answers_alone() -> None:
    batch = _batch([_Row([5, 6, 7], [8, 9]), _Row([4], [3])])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9], [4, 3, 0, 0, 0]]
    assert batch["labels"].tolist() == [[-100, -100, -100, 8, 9], [-100, 3, -100, -100, -100]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]


def test_the_policy_stays_as_it_is(tuned: FineTuned, base: TransformersPolicy) -> None:
    untouched = tiny_policy()
    assert torch.equal(logits_of(base), logits_of(untouched))
    assert set(base.model.state_dict()) == set(untouched.model.state_dict())
    assert not torch.allclose(logits_of(tuned.policy), logits_of(base))
    assert set(tuned.policy.model.state_dict()) == set(untouched.model.state_dict())  # the adapter is merged


def test_the_same_seed_gives_the_same_weights(
    tuned: FineTuned, base: TransformersPolicy, rows: list[Demonstration], tmp_path: Path
) -> None:
    torch.manual_seed(123)  # the state of others' random numbers does not matter, nor does it change
    np.random.seed(5)
    random.seed(5)
    again = fine_tune(base, rows, directory=tmp_path / "a", **SETTINGS)
    drawn = (float(torch.rand(1)), float(np.random.rand()), random.random())
    other = fine_tune(base, rows, directory=tmp_path / "b", seed=1, **SETTINGS)
    torch.manual_seed(123)
    np.random.seed(5)
    random.seed(5)
    assert drawn == (float(torch.rand(1)), float(np.random.rand()), random.random())
    assert torch.equal(logits_of(again.policy), logits_of(tuned.policy))
    assert not torch.equal(logits_of(other.policy), logits_of(tuned.policy))


def test_what_was_saved_gives_the_same_policy(tuned: FineTuned, base: TransformersPolicy) -> None:
    files = {path.name for path in tuned.directory.iterdir()}
    assert "adapter_model.safetensors" in files
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]
    loaded = FineTuned.load(tuned.directory, base)
    assert torch.equal(logits_of(loaded.policy), logits_of(tuned.policy))
    assert (loaded.loss_before, loaded.loss_after) == (tuned.loss_before, tuned.loss_after)
    assert loaded.trained_on == tuned.trained_on


def test_it_works_in_bfloat16_and_with_other_layers(rows: list[Demonstration], tmp_path: Path) -> None:
    gpt2 = tiny_policy("gpt2")
    policy = TransformersPolicy(gpt2.model.to(torch.bfloat16), gpt2.tokenizer, "half")
    found = fine_tune(policy, rows, directory=tmp_path, **SETTINGS)
    assert found.policy.model.dtype == torch.bfloat16
    assert found.loss_after < found.loss_before


def test_an_untrained_adapter_changes_nothing(
    base: TransformersPolicy, rows: list[Demonstration], tmp_path: Path
) -> None:
    """A step so small that it can't be seen: what changes the answers is the training alone."""
    found = fine_tune(base, rows[:2], directory=tmp_path, learning_rate=1e-12)
    torch.testing.assert_close(
        F.log_softmax(logits_of(found.policy), -1), F.log_softmax(logits_of(base), -1), atol=1e-4, rtol=0
    )


def test_rows_that_are_too_long_are_skipped_and_counted(
    base: TransformersPolicy, rows: list[Demonstration], tmp_path: Path
) -> None:
    long = Demonstration("Say fig.", "fig " * 100)
    found = fine_tune(base, [*rows[:2], long], directory=tmp_path, max_context=200)
    assert found.skipped == 1
    assert long.id not in found.trained_on
    with pytest.raises(DemonstrationError, match="none of 1 demonstrations has at most 200 tokens"):
        fine_tune(base, [long], directory=tmp_path, max_context=200)
    with pytest.raises(DemonstrationError, match="none of 0"):
        fine_tune(base, [], directory=tmp_path)
    with pytest.raises(DemonstrationError, match="at most 512"):  # what the model can read
        fine_tune(base, [Demonstration("Say fig.", "fig " * 200)], directory=tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"rank": 0}, {"epochs": -1}, {"batch_size": 0}, {"learning_rate": 0.0}, {"max_context": 0}]
)
def test_bad_arguments_are_refused(
    base: TransformersPolicy, rows: list[Demonstration], tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        fine_tune(base, rows, directory=tmp_path, **wrong)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_trained_or_loaded_is_refused(
    tuned: FineTuned, base: TransformersPolicy, rows: list[Demonstration], tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match="FakePolicy"):
        fine_tune(FakePolicy(), rows, directory=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="no readable adapter"):
        FineTuned.load(tmp_path, base)
    other = TransformersPolicy(base.model, base.tokenizer, "other")
    with pytest.raises(PolicyError, match=r"'tiny-llama'.*'other'"):
        FineTuned.load(tuned.directory, other)
