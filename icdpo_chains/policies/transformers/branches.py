"""`SharedBranches`: rows that share the prompts which they continue, in a model of transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from icdpo_chains.errors import PolicyError
from icdpo_chains.policies.branches import Branches, token_logprobs
from icdpo_chains.policies.transformers.attention import shared_prompt_attention
from icdpo_chains.policies.transformers.cache import share
from icdpo_chains.policies.transformers.device_memory import is_out_of_memory

__all__ = [
    "Prompt",
    "SharedBranches",
    "continuation_logprobs",
    "is_close",
    "last_positions",
    "plain_logits",
    "sharing_is_exact",
    "trial_ids",
]


@dataclass(frozen=True)
class Prompt:
    """A prompt that the model has read.

    Attributes:
        length: the number of tokens.
        logits: the logits [vocabulary] that follow the last token.
        cache: a transformers cache of a batch of one; `None` if the model's cache can't be used.
        ids: the tokens.
    """

    length: int
    logits: torch.Tensor
    cache: Any
    ids: Sequence[int] = ()


class SharedBranches:
    """Rows that share their prompts' keys and values.

    Args:
        model: the language model.
        prompts: the prompts to continue.
        counts: the number of rows of each prompt.
        rooms: the most tokens that follow in the rows of each prompt; further tokens are padding.
    """

    def __init__(
        self, model: Any, prompts: Sequence[Prompt], counts: Sequence[int], rooms: Sequence[int]
    ) -> None:
        self._model = model
        self._cache = share([prompt.cache for prompt in prompts], counts, max(rooms))
        self._counts = list(counts)
        lengths, each = torch.tensor([prompt.length for prompt in prompts]), torch.tensor(counts)
        # The positions of each row's next token and of its last one, [rows, 1].
        self._positions = lengths.repeat_interleave(each).to(model.device)[:, None]
        last = last_positions(lengths, torch.tensor(rooms))
        self._last = last.repeat_interleave(each).to(model.device)[:, None]

    def read(self, ids: torch.Tensor) -> torch.Tensor:  # noqa: D102
        new = ids.shape[1]
        positions = (self._positions + torch.arange(new, device=ids.device)).minimum(self._last)
        with shared_prompt_attention(self._model):
            logits: torch.Tensor = self._model(
                input_ids=ids, position_ids=positions, past_key_values=self._cache, use_cache=True
            ).logits
        self._positions = self._positions + new
        return logits

    def keep(self, rows: torch.Tensor) -> None:  # noqa: D102
        owners = torch.arange(len(self._counts)).repeat_interleave(torch.tensor(self._counts))
        counts = owners[rows.cpu()].bincount(minlength=len(self._counts)).tolist()
        for layer in self._cache.layers:
            layer.keep(rows, counts)
        self._counts = [count for count in counts if count > 0]
        self._positions, self._last = self._positions[rows], self._last[rows]


def last_positions(lengths: torch.Tensor, rooms: torch.Tensor) -> torch.Tensor:
    """Returns the last position that a row needs; padding behind it has the same position.

    Rows of different lengths grow together. A model with a table of positions (GPT-2) has none for padding
    behind its longest text.

    Args:
        lengths: int64, the number of tokens in the rows' prompts.
        rooms: int64, the most tokens that follow in the rows.
    """
    return lengths + rooms - 1


def continuation_logprobs(
    prompts: Sequence[Prompt],
    continuations: Sequence[Sequence[Sequence[int]]],
    branches: Callable[[Sequence[Prompt], Sequence[int], Sequence[int]], Branches],
) -> list[list[list[float]]]:
    """Returns the log-probability of each token of each prompt's continuations.

    Args:
        prompts: the prompts.
        continuations: the token ids of each prompt's continuations.
        branches: builds the rows that continue the prompts, from the prompts, their numbers of rows and the
            most tokens that follow in the rows of each.
    """
    counts = [len(some) for some in continuations]
    rows = [torch.tensor(list(ids) or [0]) for some in continuations for ids in some]
    # Padded on the right, where no other token attends, so no mask is needed.
    ids = pad_sequence(rows, batch_first=True).to(prompts[0].logits.device)
    logits = torch.stack([prompt.logits.float() for prompt in prompts])
    owners = torch.arange(len(prompts)).repeat_interleave(torch.tensor(counts)).to(logits.device)
    chosen = [token_logprobs(logits[owners][:, None], ids[:, :1])]
    if ids.shape[1] > 1:
        rooms = [max(map(len, some), default=0) for some in continuations]
        read = branches(prompts, counts, rooms).read(ids[:, :-1])
        chosen.append(token_logprobs(read, ids[:, 1:]))
    table = iter(torch.cat(chosen, dim=1).tolist())
    return [[next(table)[: len(ids)] for ids in some] for some in continuations]


@torch.inference_mode()
def sharing_is_exact(
    model: Any,
    branches: Callable[[Any, Sequence[Prompt], Sequence[int], Sequence[int]], Branches] = SharedBranches,
    steps: Sequence[int] = (1, 2),
    read: Callable[[Sequence[Sequence[int]]], list[Prompt]] | None = None,
) -> bool:
    """Whether a model gives the same logits when rows share their prompts; tested on a few tokens.

    The test covers architectures that no list knows.

    Args:
        model: the language model.
        branches: builds the sharing rows.
        steps: the numbers of tokens to read in turn.
        read: reads the prompts; by default one after the other, with the attention that shares prompts.
    """
    new = sum(steps)
    ids = trial_ids(model, new + 8)
    lengths, rows = (3, 6), (0, 0, 1)
    follow = torch.stack([ids[i : i + new] for i in (8, 2, 5)])
    plain = torch.stack(
        [
            plain_logits(model, torch.cat([ids[: lengths[owner]], row]))[-new - 1 :]
            for owner, row in zip(rows, follow, strict=True)
        ]
    )
    try:
        prompts = [] if read is None else read([ids[:length].tolist() for length in lengths])
        for length in lengths if read is None else ():
            cache = DynamicCache(config=model.config)
            with shared_prompt_attention(model):
                out = model(input_ids=ids[None, :length], past_key_values=cache, use_cache=True)
            prompts.append(Prompt(length, out.logits[0, -1], cache))
        first = torch.stack([prompts[owner].logits.float() for owner in rows])[:, None]
        shared_rows = branches(model, prompts, [2, 1], [new, new])
        # Copies: the rows may return each step's logits in the same memory.
        later = [shared_rows.read(some).float().clone() for some in torch.split(follow, list(steps), 1)]
        shared = torch.cat([first, *later], 1)
    except Exception as error:  # an unknown architecture may raise anything
        if is_out_of_memory(error):
            raise
        return False
    return is_close(model, shared, plain)


def trial_ids(model: Any, count: int) -> torch.Tensor:
    """Returns a few different token ids, int64 [count]."""
    vocabulary: int = model.config.get_text_config().vocab_size
    return (torch.arange(1, count + 1, device=model.device) * 7919) % vocabulary


def plain_logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Returns the logits [tokens, vocabulary] of one pass without a cache, in float32.

    Raises:
        PolicyError: the model can't read tokens alone.
    """
    try:
        logits: torch.Tensor = model(input_ids=ids[None], use_cache=False).logits[0].float()
    except Exception as error:  # an unknown architecture may raise anything
        if is_out_of_memory(error):
            raise
        raise PolicyError(
            f"{type(model).__name__} can't read {len(ids)} tokens: {type(error).__name__}: {error!s:.200}. "
            "Use a causal language model that reads text"
        ) from error
    return logits


def is_close(model: Any, logits: torch.Tensor, plain: torch.Tensor) -> bool:
    """Whether logits differ from those of a plain pass by no more than the rounding of the model's type.

    Rounding makes a small difference; another attention, or a lost context, makes a much larger one.
    Eight-bit layers round all tokens of a batch together.
    """
    tolerance = 1e-3 if model.dtype == torch.float32 else 0.1
    if getattr(model, "is_quantized", False):
        tolerance = 0.2
    return bool((logits - plain).norm() <= tolerance * (plain - plain.mean(-1, keepdim=True)).norm())
