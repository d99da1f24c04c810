"""`fine_tune`: supervised fine-tuning of a low-rank adapter on chosen answers, as a baseline."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.errors import DemonstrationError, ICDPOError, InvalidInputError, PolicyError
from icdpo_chains.evaluation.comparison.seeding import seeded
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.policies.transformers.policy import TransformersPolicy
from icdpo_chains.prompts.formats import prompt_format

if TYPE_CHECKING:
    import torch

__all__ = ["FineTuned", "fine_tune", "trainable_ids"]

_SETTINGS = "fine_tuning.json"
_IGNORED = -100  # a label that has no loss, in torch's cross-entropy

# The maximum number of rows for measuring the losses before and after.
_MEASURED = 64


@dataclass(frozen=True)
class _Row:
    """One demonstration as token ids."""

    context: list[int]
    answer: list[int]


@dataclass(frozen=True)
class FineTuned:
    """A fine-tuned policy.

    Attributes:
        policy: the policy with the adapter merged into a copy of the model.
        directory: the directory of the adapter.
        loss_before: the loss of the original policy: the mean negative log-likelihood per token, in nats, of
            the first 64 chosen answers of the training data.
        loss_after: the same loss of the fine-tuned policy.
        trained_on: the ids of the training demonstrations.
        skipped: the number of demonstrations that were too long.
    """

    policy: TransformersPolicy
    directory: Path
    loss_before: float
    loss_after: float
    trained_on: frozenset[str]
    skipped: int

    @classmethod
    def load(cls, directory: str | Path, policy: TransformersPolicy) -> FineTuned:
        """Loads the result of `fine_tune` from a directory, to avoid a second training.

        Args:
            directory: the directory of the adapter.
            policy: the original policy; not changed.

        Raises:
            InvalidInputError: the directory has no adapter of `fine_tune`.
            PolicyError: the adapter belongs to another model.
            ICDPOError: peft is not installed.
        """
        peft = _peft()
        directory = Path(directory)
        try:
            settings: dict[str, Any] = json.loads((directory / _SETTINGS).read_text(encoding="utf-8"))
            name = settings.pop("policy")
            settings["trained_on"] = frozenset(settings["trained_on"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInputError(
                f"{directory} has no readable adapter ({error!r:.200}): give a directory that "
                "`fine_tune` wrote to"
            ) from error
        if name != policy.name:
            raise PolicyError(
                f"the adapter in {directory} was trained for {name!r}, and was given {policy.name!r}: load "
                "that model, or train an adapter for this one"
            )
        model = peft.PeftModel.from_pretrained(_trainable_copy(policy), str(directory), local_files_only=True)
        return cls(_merged(model, policy), directory, **settings)


def fine_tune(
    policy: TransformersPolicy,
    demonstrations: Sequence[Demonstration],
    *,
    directory: str | Path,
    rank: int = 8,
    epochs: int = 1,
    learning_rate: float = 2e-4,
    batch_size: int = 4,
    max_context: int = 1024,
    seed: int = 0,
) -> FineTuned:
    """Trains a LoRA adapter (arXiv 2106.09685) on the chosen answers; the loss covers only their tokens.

    The layout is that of sampling without demonstrations. All linear layers except the output layer get an
    adapter, scaled by 2 (alpha is twice the rank). Training uses float32 on a CPU, and elsewhere the model's
    dtype with adapters in float32.

    Args:
        policy: the policy to fine-tune; training uses a copy of its model.
        demonstrations: the training demonstrations.
        directory: receives the adapter (safetensors) and the settings for `FineTuned.load`.
        rank: the rank of the adapter's matrices.
        epochs: the number of passes over the demonstrations.
        learning_rate: the initial learning rate of AdamW; it falls linearly to 0.
        batch_size: the number of demonstrations per step.
        max_context: demonstrations with more tokens are skipped.
        seed: the same seed gives the same weights on one machine.

    Raises:
        DemonstrationError: no demonstration is left.
        TypeError: an argument has the wrong type, or the policy is not a `TransformersPolicy`.
        ValueError: an argument is out of range.
        ICDPOError: peft is not installed.
    """
    if not isinstance(policy, TransformersPolicy):
        raise TypeError(f"a {type(policy).__name__} can't be trained: use a TransformersPolicy")
    check_count(rank, "rank", 4096)
    check_count(epochs, "epochs", 1000)
    check_count(batch_size, "batch_size", 4096)
    check_count(max_context, "max_context", 10_000_000)
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"learning_rate is {learning_rate}, and must be above 0 and finite")
    limit = min(max_context, policy.max_context or max_context)
    rows, used = _rows(policy, demonstrations, limit)
    if not rows:
        raise DemonstrationError(
            f"none of {len(demonstrations)} demonstrations has at most {limit} tokens, and there is "
            "nothing to train on: give shorter ones, or a larger max_context"
        )
    peft = _peft()
    before = _loss(policy, rows)
    with seeded(seed, policy.model.device):
        config = peft.LoraConfig(
            r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        model = peft.get_peft_model(_trainable_copy(policy), config)
        _train(model, rows, epochs, learning_rate, batch_size, seed)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    # By default, peft asks the hub whether the vocabulary has grown.
    model.save_pretrained(str(directory), safe_serialization=True, save_embedding_layers=False)
    tuned = _merged(model, policy)
    after = _loss(tuned, rows)
    settings = {"loss_before": before, "loss_after": after, "skipped": len(demonstrations) - len(rows)}
    content = {"policy": policy.name, **settings, "trained_on": sorted(used)}
    (directory / _SETTINGS).write_text(json.dumps(content, indent=1), encoding="utf-8")
    return FineTuned(tuned, directory, before, after, frozenset(used), len(demonstrations) - len(rows))


def trainable_ids(
    policy: TransformersPolicy, demonstrations: Sequence[Demonstration], *, max_context: int = 1024
) -> frozenset[str]:
    """Returns the ids of the training demonstrations of `fine_tune`: those that are short enough.

    Args:
        policy: provides tokenizer and context limit.
        demonstrations: the demonstrations.
        max_context: see `fine_tune`.
    """
    limit = min(max_context, policy.max_context or max_context)
    return frozenset(_rows(policy, demonstrations, limit)[1])


def _rows(
    policy: TransformersPolicy, demonstrations: Sequence[Demonstration], limit: int
) -> tuple[list[_Row], list[str]]:
    """Returns the demonstrations that are short enough as token ids, and their ids."""
    form = prompt_format(policy.tokenizer, policy.eos_token_ids)
    rows: list[_Row] = []
    used: list[str] = []
    for demonstration in demonstrations:
        if demonstration.chosen is None:
            continue
        row = _Row(
            form.context(demonstration.messages, [], None), form.answer(demonstration.chosen, ended=True)
        )
        if len(row.context) + len(row.answer) <= limit:
            rows.append(row)
            used.append(demonstration.id)
    return rows, used


def _loss(policy: TransformersPolicy, rows: Sequence[_Row]) -> float:
    logprobs = [policy.logprobs(row.context, [row.answer])[0] for row in rows[:_MEASURED]]
    return -sum(map(sum, logprobs)) / sum(map(len, logprobs))


def _train(
    model: Any, rows: Sequence[_Row], epochs: int, learning_rate: float, batch_size: int, seed: int
) -> None:
    from tempfile import TemporaryDirectory

    from transformers import PrinterCallback, Trainer, TrainingArguments

    # TRL's trainer replaces the model's forward; the model is used afterwards.
    with TemporaryDirectory() as nothing:
        arguments = TrainingArguments(
            output_dir=nothing,
            num_train_epochs=epochs,
            learning_rate=learning_rate,
            per_device_train_batch_size=batch_size,
            seed=seed,
            use_cpu=model.device.type == "cpu",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
        )
        trainer = Trainer(
            model=model, args=arguments, train_dataset=list(rows), data_collator=_batch, callbacks=[_bar()]
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def _batch(rows: Sequence[_Row]) -> Mapping[str, torch.Tensor]:
    """Returns token ids [rows, longest] padded on the right, and labels for the answers."""
    import torch

    shape = len(rows), max(len(row.context) + len(row.answer) for row in rows)
    ids = torch.zeros(shape, dtype=torch.long)
    seen = torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, _IGNORED)
    for i, row in enumerate(rows):
        begin, end = len(row.context), len(row.context) + len(row.answer)
        ids[i, :end] = torch.tensor([*row.context, *row.answer])
        seen[i, :end] = 1
        labels[i, begin:end] = ids[i, begin:end]
    return {"input_ids": ids, "attention_mask": seen, "labels": labels}


def _bar() -> Any:
    """A progress bar, if there is a terminal."""
    from tqdm.auto import tqdm
    from transformers import TrainerCallback

    class Bar(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            self.bar = tqdm(total=state.max_steps, desc="fine-tuning", unit="step", disable=None)

        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            self.bar.update(state.global_step - self.bar.n)

        def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            self.bar.close()

    return Bar()


def _trainable_copy(policy: TransformersPolicy) -> Any:
    import torch

    with policy.exclusive():
        model = copy.deepcopy(policy.model)
    return model.to(torch.float32) if model.device.type == "cpu" else model


def _merged(model: Any, policy: TransformersPolicy) -> TransformersPolicy:
    merged = model.merge_and_unload().to(policy.model.device, policy.model.dtype).eval()
    merged.requires_grad_(False)
    return TransformersPolicy(merged, policy.tokenizer, f"{policy.name}+lora", max_rows=policy.max_rows)


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ICDPOError('fine-tuning needs peft: pip install "icdpo-chains[eval]"') from error
    return peft
