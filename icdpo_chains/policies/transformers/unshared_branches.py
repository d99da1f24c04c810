"""Rows that continue one prompt without sharing it, in a model of transformers of any architecture."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from transformers import DynamicCache

from icdpo_chains.errors import PolicyError
from icdpo_chains.policies.branches import Branches
from icdpo_chains.policies.transformers.branches import Prompt, is_close, plain_logits, trial_ids
from icdpo_chains.policies.transformers.device_memory import is_out_of_memory

__all__ = ["CopiedBranches", "StepwiseBranches", "UncachedBranches", "UnsharedBranches", "exact_branches"]

_MOST_LOGITS = 2**26  # 256 MiB in float32


class UnsharedBranches(Protocol):
    """Builds the rows of one prompt."""

    def __call__(self, model: Any, prompt: Prompt, count: int, /) -> Branches: ...  # noqa: D102


class CopiedBranches:
    """Rows of one prompt, each with its own cache.

    Args:
        model: the language model.
        prompt: the prompt to continue; its cache is consumed.
        count: the number of rows.
    """

    def __init__(self, model: Any, prompt: Prompt, count: int) -> None:
        self._model, self._cache = model, prompt.cache
        self.keep(torch.zeros(count, dtype=torch.long, device=model.device))

    def read(self, ids: torch.Tensor) -> torch.Tensor:  # noqa: D102
        logits: torch.Tensor = self._model(input_ids=ids, past_key_values=self._cache, use_cache=True).logits
        return logits

    def keep(self, rows: torch.Tensor) -> None:  # noqa: D102
        self._cache.reorder_cache(rows)


class StepwiseBranches(CopiedBranches):
    """`CopiedBranches` that read one token at a time, for models whose cache loses some of several tokens."""

    def read(self, ids: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return torch.cat([CopiedBranches.read(self, token) for token in torch.split(ids, 1, 1)], dim=1)


class UncachedBranches:
    """Rows that are read anew with their prompt at each step, for models whose cache can't be used.

    Args:
        model: the language model.
        prompt: the prompt to continue.
        count: the number of rows.
    """

    def __init__(self, model: Any, prompt: Prompt, count: int) -> None:
        self._model = model
        self._ids = torch.tensor([list(prompt.ids)] * count, dtype=torch.long, device=model.device)

    def read(self, ids: torch.Tensor) -> torch.Tensor:  # noqa: D102
        self._ids = torch.cat([self._ids, ids], dim=1)
        vocabulary = self._model.config.get_text_config().vocab_size
        rows = max(1, _MOST_LOGITS // (self._ids.shape[1] * vocabulary))
        return torch.cat(
            [
                self._model(input_ids=some, use_cache=False).logits[:, -ids.shape[1] :]
                for some in torch.split(self._ids, rows)
            ]
        )

    def keep(self, rows: torch.Tensor) -> None:  # noqa: D102
        self._ids = self._ids[rows]


@torch.inference_mode()
def exact_branches(model: Any) -> UnsharedBranches:
    """Returns the fastest kind of rows that gives the logits of one pass without a cache.

    The cache of transformers has no effect on some architectures (Mamba, RWKV), and on others (Jamba) it is
    only right for one token at a time. The test on a few tokens covers architectures that no list knows.

    Args:
        model: the language model.

    Raises:
        PolicyError: an earlier token's logits depend on later tokens: the model is not causal.
    """
    ids = trial_ids(model, 12)
    plain = plain_logits(model, ids)
    if plain.isnan().any():
        return CopiedBranches  # nothing can be compared, and sampling refuses the model
    if not is_close(model, plain_logits(model, ids[:9]), plain[:9]):
        raise PolicyError(
            f"{type(model).__name__} reads later tokens before it predicts earlier ones, so that it can't "
            "continue a text: use a causal language model"
        )
    kind: type[CopiedBranches]
    for kind in (CopiedBranches, StepwiseBranches):
        if _is_exact(kind, model, ids, plain):
            return kind
    return UncachedBranches


def _is_exact(kind: UnsharedBranches, model: Any, ids: torch.Tensor, plain: torch.Tensor) -> bool:
    begin, steps = 6, [1, 3, 2]
    try:
        cache = DynamicCache(config=model.config)
        logits = model(input_ids=ids[None, :begin], past_key_values=cache, use_cache=True).logits[0, -1]
        rows = kind(model, Prompt(begin, logits, cache), 2)
        read = [rows.read(some.expand(2, -1)).float() for some in torch.split(ids[None, begin:], steps, 1)]
        follow = torch.cat(read, dim=1)
        return all(is_close(model, row, plain[begin:]) for row in follow)
    except Exception as error:  # an unknown architecture may raise anything
        if is_out_of_memory(error):
            raise
        return False
