"""`AnswerFeatures`: turns answers into vectors, the hidden states of a policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from icdpo_chains.errors import PolicyMemoryError
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.messages import Conversation, as_conversation, check_text
from icdpo_chains.policies.transformers.policy import TransformersPolicy
from icdpo_chains.prompts.formats import prompt_format

if TYPE_CHECKING:
    import torch

__all__ = ["AnswerFeatures", "Features"]

Features = NDArray[np.float32]

# Tokens of a batch, padding included.
_BATCH_TOKENS = 4096


class AnswerFeatures:
    """The hidden states of a model's last layer, in float32: that of an answer's last token, and their mean.

    The layout is that of sampling: the conversation without demonstrations, then the answer and its end
    token. A text that is too long loses its beginning and keeps the answer.

    Args:
        policy: its model reads the answers; it is not changed.
        max_context: the maximum number of tokens of conversation and answer that are read.

    Attributes:
        backbone: the model without its language modelling head.
        size: how many features an answer has.

    Raises:
        TypeError: the policy is not a `TransformersPolicy`; other policies show no hidden states.
    """

    def __init__(self, policy: TransformersPolicy, max_context: int = 1024) -> None:
        if not isinstance(policy, TransformersPolicy):
            raise TypeError(
                f"features are hidden states, which a {type(policy).__name__} does not show: use a "
                "TransformersPolicy"
            )
        check_count(max_context, "max_context", 10_000_000)
        self.backbone: Any = policy.model.base_model
        self.size: int = 2 * policy.model.config.get_text_config().hidden_size
        self.max_context = min(max_context, policy.max_context or max_context)
        self._format = prompt_format(policy.tokenizer, policy.eos_token_ids)

    def token_ids(self, conversation: Conversation, response: str) -> tuple[list[int], int]:
        """Returns the ids of a conversation and its answer, and how many of the ids belong to the answer."""
        check_text(response, "the answer")
        context = self._format.context(as_conversation(conversation), [], None)
        answer = self._format.answer(response, ended=True)
        ids = (context + answer)[-self.max_context :]
        # An empty answer in a format without an end token: the last token of the context is read.
        return ids, min(len(ids), max(1, len(answer)))

    def of(
        self, conversations: Sequence[Conversation], responses: Sequence[str], *, progress: bool = False
    ) -> Features:
        """Returns float32 [answers, size].

        Args:
            conversations: one for each response.
            responses: the answers.
            progress: whether to show a progress bar, if there is a terminal.

        Raises:
            ValueError: the numbers of conversations and responses differ.
            InvalidInputError: a conversation or an answer can't be used.
        """
        if len(conversations) != len(responses):
            raise ValueError(
                f"{len(conversations)} conversations and {len(responses)} answers: give one for each"
            )
        pairs = zip(conversations, responses, strict=True)
        return self.of_token_ids([self.token_ids(*pair) for pair in pairs], progress=progress)

    def of_token_ids(self, rows: Sequence[tuple[Sequence[int], int]], *, progress: bool = False) -> Features:
        """Returns float32 [rows, size].

        Args:
            rows: token ids, and how many of the last ids belong to the answer.
            progress: whether to show a progress bar, if there is a terminal.

        Raises:
            PolicyMemoryError: the memory can't hold a single text; larger batches become smaller.
        """
        import torch
        from tqdm.auto import tqdm

        from icdpo_chains.policies.transformers.device_memory import tried

        features = np.zeros((len(rows), self.size), dtype=np.float32)
        bar = tqdm(total=len(rows), desc="reading answers", unit="answer", disable=None if progress else True)
        with bar, torch.inference_mode():
            waiting = _batches([len(ids) for ids, _ in rows])[::-1]
            while waiting:
                batch = waiting.pop()
                found = tried(lambda: self._read([rows[i] for i in batch]).cpu())  # noqa: B023 - called at once
                if found is not None:
                    features[batch] = found.numpy()
                    bar.update(len(batch))
                elif len(batch) > 1:
                    half = len(batch) // 2
                    waiting += [batch[half:], batch[:half]]
                else:
                    raise PolicyMemoryError(
                        f"the memory of {self.backbone.device} can't hold a text of {len(rows[batch[0]][0])} "
                        "tokens: lower max_context, or load the policy on another device"
                    )
        return features

    @staticmethod
    def pooled(states: torch.Tensor, total: torch.Tensor, count: int) -> torch.Tensor:
        """Returns the features [..., size] of an answer.

        Args:
            states: of the answer's last token, float32 [..., hidden].
            total: the sum of the states of all tokens of the answer, float32 [..., hidden].
            count: how many tokens the answer has.
        """
        import torch

        return torch.cat([states, total / count], dim=-1)

    def _read(self, rows: Sequence[tuple[Sequence[int], int]]) -> torch.Tensor:
        import torch

        device = self.backbone.device
        # Padding on the right needs no mask: no other token attends to it.
        ids = torch.zeros(len(rows), max(len(row) for row, _ in rows), dtype=torch.long)
        for i, (row, _) in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
        hidden = self.backbone(input_ids=ids.to(device), use_cache=False).last_hidden_state
        features = []
        for states, (row, count) in zip(hidden, rows, strict=True):
            answer = states[len(row) - count : len(row)].float()
            features.append(self.pooled(answer[-1], answer.sum(dim=0), count))
        return torch.stack(features)


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Indices in batches of similar lengths. The longest come first, so a lack of memory shows at once."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > _BATCH_TOKENS:
            batches.append([])
        batches[-1].append(i)
    return batches
