"""`SequenceClassifierReward`: a Hugging Face reward model or classifier as a `Reward`."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icdpo_chains.errors import PolicyError, PolicyMemoryError
from icdpo_chains.messages import Conversation, as_conversation, check_text, search_text
from icdpo_chains.prompts.encoding import TextEncoder

if TYPE_CHECKING:
    import torch

__all__ = ["SequenceClassifierReward"]

# Texts of a batch.
_BATCH = 8


class SequenceClassifierReward:
    """The number that a sequence classifier gives to an answer.

    With one label, as in reward models, the number is the logit. With several labels it is the logit of the
    given label if labels are independent (`problem_type` is `multi_label_classification`), and the label's
    log-odds otherwise.

    The tokenizer's chat template lays out conversation and answer. A tokenizer without a template gets the
    turns and the answer as a pair of texts. No text becomes a control token. A text that is too long loses
    its beginning; in a pair, the longer text does.

    Args:
        model: a `transformers` model for sequence classification, in evaluation mode on its device.
        tokenizer: its tokenizer.
        name: names the reward in results; by default the model's name or path.
        label: the good label, by name or number; required if there are several labels.

    Raises:
        ValueError: a label is missing or unknown.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, name: str | None = None, label: str | int | None = None
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.name = name or str(model.config.name_or_path or type(model).__name__)
        self.label = _label(self.name, model.config, label)
        self._encoder = TextEncoder(tokenizer) if tokenizer.chat_template else None
        self._pair_tokenizer = copy.deepcopy(tokenizer)
        self._pair_tokenizer.truncation_side = "left"
        text_config = model.config.get_text_config()
        limits = (tokenizer.model_max_length, getattr(text_config, "max_position_embeddings", None))
        self.max_context = min((int(limit) for limit in limits if limit is not None), default=10**9)
        # Batches need a padding token: a classifier of the last token finds that token by the padding.
        self._pad: int | None = getattr(text_config, "pad_token_id", None)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        device: str | torch.device | None = None,
        label: str | int | None = None,
        name: str | None = None,
    ) -> SequenceClassifierReward:
        """Loads a classifier from safetensors weights; code in its repository is not run.

        Args:
            name_or_path: a hub name or a directory.
            device: `"cuda"`, `"cpu"`, ...; by default the fastest device of the machine.
            label: the good label, by name or number; required if there are several labels.
            name: names the reward in results.

        Raises:
            PolicyError: the classifier can't be loaded, or the weights have no classification head.
            ValueError: a label is missing or unknown.
        """
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        from icdpo_chains.policies.transformers.loading.load import device_of, moved

        where = device_of(device)
        source = os.path.expanduser(str(name_or_path))
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            model, report = AutoModelForSequenceClassification.from_pretrained(
                source,
                dtype=torch.float32 if where.type == "cpu" else "auto",
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise PolicyError(
                f"the classifier {str(name_or_path)!r} can't be loaded: {str(error).rstrip('.')}. Give a "
                "directory or a hub name of a sequence classifier with safetensors weights"
            ) from error
        if report["missing_keys"]:
            missing = ", ".join(sorted(report["missing_keys"]))
            raise PolicyError(
                f"{str(name_or_path)!r} is not a trained classifier: its weights lack {missing:.200}, which "
                "would be random; give a reward model or another sequence classifier"
            )
        model = moved(model, where, str(name_or_path)).eval()
        return cls(model, tokenizer, name=name or str(name_or_path), label=label)

    def rewards(self, conversations: Sequence[Conversation], responses: Sequence[str]) -> list[float]:
        """Returns a number for each conversation and its response: the higher, the better.

        If the memory can't hold a batch, the batches become smaller.

        Raises:
            ValueError: the numbers of conversations and responses differ.
            InvalidInputError: a conversation or a response can't be used.
            PolicyMemoryError: the memory can't hold a single text.
            PolicyError: the model's logits are not numbers.
        """
        import torch

        from icdpo_chains.policies.transformers.device_memory import tried

        if len(conversations) != len(responses):
            raise ValueError(
                f"{len(conversations)} conversations and {len(responses)} answers: give one for each"
            )
        texts = [self._encoded(*pair) for pair in zip(conversations, responses, strict=True)]
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]["input_ids"]))
        rewards = torch.zeros(len(texts))
        size = 1 if self._pad is None else _BATCH
        while order:
            batch = order[:size]
            found = tried(lambda: self._read([texts[i] for i in batch]))  # noqa: B023 - called at once
            if found is not None:
                rewards[batch] = found
                order = order[size:]
            elif len(batch) > 1:
                size = len(batch) // 2
            else:
                length = len(texts[batch[0]]["input_ids"])
                raise PolicyMemoryError(
                    f"the memory of {self.model.device} can't hold a text of {length} tokens for "
                    f"{self.name}: load it on another device, or use a smaller classifier"
                )
        if not bool(torch.isfinite(rewards).all()):
            raise PolicyError(f"logits of {self.name} are not finite: its weights are broken, or its dtype")
        numbers: list[float] = rewards.tolist()
        return numbers

    def _read(self, texts: Sequence[Mapping[str, list[int]]]) -> torch.Tensor:
        """Returns the rewards of texts that are read together."""
        import torch

        with torch.inference_mode():
            return self._chosen(self.model(**self._padded(texts)).logits.float()).cpu()

    def _encoded(self, conversation: Conversation, response: str) -> Mapping[str, list[int]]:
        messages = as_conversation(conversation)
        check_text(response, "the answer")
        if self._encoder is None:
            encoded: Mapping[str, list[int]] = self._pair_tokenizer(
                search_text(messages),
                response,
                truncation="longest_first",
                max_length=self.max_context,
                split_special_tokens=True,
            )
            return encoded
        turns = [*(message.to_dict() for message in messages), {"role": "assistant", "content": response}]
        ids = self._encoder.conversation(turns)[-self.max_context :]
        return {"input_ids": ids, "attention_mask": [1] * len(ids)}

    def _padded(self, texts: Sequence[Mapping[str, list[int]]]) -> dict[str, torch.Tensor]:
        import torch

        longest = max(len(text["input_ids"]) for text in texts)
        padding = {"input_ids": self._pad or 0}
        return {
            key: torch.tensor(
                [[*text[key], *[padding.get(key, 0)] * (longest - len(text[key]))] for text in texts],
                device=self.model.device,
            )
            for key in texts[0]
        }

    def _chosen(self, logits: torch.Tensor) -> torch.Tensor:
        import torch

        chosen = logits[:, self.label]
        alone = logits.shape[1] == 1 or self.model.config.problem_type == "multi_label_classification"
        if alone:
            return chosen
        others = [i for i in range(logits.shape[1]) if i != self.label]
        return chosen - torch.logsumexp(logits[:, others], dim=1)


def _label(name: str, config: Any, label: str | int | None) -> int:
    labels: dict[str, int] = {str(config.id2label[i]): i for i in range(config.num_labels)}
    shown = ", ".join(f"{i} {text!r}" for text, i in labels.items())
    if label is None and len(labels) > 1:
        raise ValueError(f"{name} has several labels ({shown}): say which one is good, with label=")
    number = 0 if label is None else labels.get(label, -1) if isinstance(label, str) else label
    if isinstance(number, bool) or number not in range(config.num_labels):
        raise ValueError(f"{name} has no label {label!r}: its labels are {shown}")
    return number
