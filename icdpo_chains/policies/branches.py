"""`Branches`: rows that continue prompts and grow by equal steps."""

from __future__ import annotations

from typing import Protocol

import torch

__all__ = ["Branches", "token_logprobs"]

# Tokens per log-softmax: in float32, their logits fit into a processor's cache.
_TOKENS = 16


class Branches(Protocol):
    """Rows that continue prompts."""

    def read(self, ids: torch.Tensor) -> torch.Tensor:
        """Feeds new tokens [rows, new]; returns the logits [rows, new, vocabulary] that follow each."""
        ...

    def keep(self, rows: torch.Tensor) -> None:
        """Keeps only these rows (indices, ascending)."""
        ...


def token_logprobs(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Log-softmax of [rows, length, vocabulary] at the ids [rows, length], in float32."""
    parts = []
    flat = zip(torch.split(logits.flatten(0, 1), _TOKENS), torch.split(ids.flatten(), _TOKENS), strict=True)
    for some, tokens in flat:
        scores = some.float()
        parts.append(scores.gather(-1, tokens[:, None])[:, 0] - torch.logsumexp(scores, dim=-1))
    return torch.cat(parts).view_as(ids)
