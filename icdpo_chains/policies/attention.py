"""Attention of many continuations to a prompt that they share, which is read once instead of once each.

It enters a model by transformers' attention interface, so that it knows no architecture; a model that has
anything else in its attention (sliding windows, sinks, soft caps, biases) can't use it and says so.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

if TYPE_CHECKING:
    from icdpo_chains.policies.cache import SharedPromptLayer

__all__ = ["UnsupportedAttentionError", "shared_prompt_attention"]

_NAME = "icdpo_shared_prompt"

# What models pass on that says nothing about which token looks at which, or how much.
_HARMLESS = frozenset(
    {"position_ids", "cache_position", "use_cache", "output_attentions", "is_causal", "output_hidden_states"}
)

_active = threading.local()


class UnsupportedAttentionError(Exception):
    """A model's attention is more than scaled dot products over a causal past."""


@contextmanager
def shared_prompt_attention(model: Any) -> Iterator[None]:
    """Lets a model's attention read prompts from `SharedPromptLayer`s, in this thread and this block."""
    config = model.config.get_text_config(decoder=True)
    before = config._attn_implementation
    config._attn_implementation = _NAME
    _active.on = True
    try:
        yield
    finally:
        _active.on = False
        config._attn_implementation = before


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    if not getattr(_active, "on", False):  # another thread uses the same model
        output: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return output
    layer: SharedPromptLayer | None = getattr(key, "layer", None)
    window = others.pop("sliding_window", None)
    unknown = [name for name, given in others.items() if given is not None and name not in _HARMLESS]
    if layer is None or attention_mask is not None or unknown:
        raise UnsupportedAttentionError(f"{type(module).__name__} with {unknown}")
    if window is not None and layer.longest > window:
        raise UnsupportedAttentionError(f"{layer.longest} tokens in a window of {window}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    attend = _attend_one if query.shape[2] == 1 else _attend_many
    return attend(query, layer, scale).transpose(1, 2).contiguous(), None


def _attend_one(query: torch.Tensor, layer: SharedPromptLayer, scale: float) -> torch.Tensor:
    """One new token a row: query and result are [rows, heads, 1, head size].

    All rows of a prompt are one matrix, so that its keys and values are read once. The softmax is over the
    prompt and the row's own tokens together.
    """
    rows, heads, _, size = query.shape
    groups = layer.keys.shape[1]
    shared = heads // groups  # query heads to a key head
    query = (query * scale).view(rows, groups, shared, size)
    length = layer.keys.shape[2]
    own = torch.bmm(query.reshape(-1, shared, size), layer.keys.flatten(0, 1).mT)
    own = own.view(rows, groups, shared, length)
    results = []
    begin = 0
    for prompt, count in zip(layer.prompts, layer.counts, strict=True):
        end = begin + count
        # [groups, rows * shared, size], against [groups, prompt, size].
        queries = query[begin:end].transpose(0, 1).reshape(groups, -1, size)
        scores = torch.bmm(queries, prompt.keys.mT).view(groups, count, shared, -1).transpose(0, 1)
        weights = torch.cat([scores, own[begin:end]], dim=-1)
        weights = weights.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
        on_prompt, on_own = weights[..., : scores.shape[-1]], weights[..., scores.shape[-1] :]
        result = torch.bmm(on_prompt.transpose(0, 1).reshape(groups, count * shared, -1), prompt.values)
        values = layer.values[begin:end].flatten(0, 1)
        result = result.view(groups, count, shared, size).transpose(0, 1) + torch.bmm(
            on_own.reshape(-1, shared, length), values
        ).view(count, groups, shared, size)
        results.append(result.reshape(count, heads, 1, size))
        begin = end
    return results[0] if len(results) == 1 else torch.cat(results)


def _attend_many(query: torch.Tensor, layer: SharedPromptLayer, scale: float) -> torch.Tensor:
    """Several new tokens a row: query and result are [rows, heads, new, head size]. A row at a time."""
    _, heads, new, _ = query.shape
    length = layer.keys.shape[2]
    results = []
    begin = 0
    for prompt, count in zip(layer.prompts, layer.counts, strict=True):
        # A new token sees the prompt, and its row up to itself.
        past = prompt.keys.shape[1] + length - new
        seen = torch.ones(new, past + new, dtype=torch.bool, device=query.device).tril(past)
        for row in range(begin, begin + count):
            keys = torch.cat([prompt.keys, layer.keys[row]], dim=1)
            values = torch.cat([prompt.values, layer.values[row]], dim=1)
            results.append(
                F.scaled_dot_product_attention(
                    query[row : row + 1],
                    keys.repeat_interleave(heads // len(keys), 0)[None],
                    values.repeat_interleave(heads // len(keys), 0)[None],
                    attn_mask=seen,
                    scale=scale,
                )
            )
        begin += count
    return torch.cat(results)


def _mask(*args: Any, **options: Any) -> torch.Tensor | None:
    if getattr(_active, "on", False):
        return None  # who looks at what follows from the layout of the cache
    mask: torch.Tensor | None = sdpa_mask(*args, **options)
    return mask


AttentionInterface.register(_NAME, _attention)
AttentionMaskInterface.register(_NAME, _mask)
