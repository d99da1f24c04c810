"""Attention of many continuations to a shared prompt, which is read once for all of them.

It enters a model through transformers' attention interface and depends on no architecture. For a model with
anything else in its attention (sliding windows, sinks, soft caps, biases), it raises an error.
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

from icdpo_chains.policies.transformers.static_cache import StaticLayer

if TYPE_CHECKING:
    from icdpo_chains.policies.transformers.cache import SharedPromptLayer

__all__ = ["UnsupportedAttentionError", "shared_prompt_attention"]

_NAME = "icdpo_shared_prompt"

# Queries per product in `_products`: the scores stay in the processor's cache, and few are masked.
_BLOCK = 128

# Arguments of models that do not change which tokens attend to which, or how much.
_HARMLESS = frozenset(
    {
        "cache_position",
        "is_causal",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "position_ids",
        "use_cache",
    }
)

_active = threading.local()


class UnsupportedAttentionError(Exception):
    """The attention of a model is not plain scaled dot products over a causal past."""


@contextmanager
def shared_prompt_attention(model: Any) -> Iterator[None]:
    """Makes a model's attention read prompts from `SharedPromptLayer`s, in this thread and this block.

    A cache with other layers must hold the whole past of a batch of one: the model then reads a prompt.
    """
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
    layer: SharedPromptLayer | StaticLayer | None = getattr(key, "layer", None)
    window = others.pop("sliding_window", None)
    unknown = [name for name, given in others.items() if given is not None and name not in _HARMLESS]
    if attention_mask is not None or unknown:
        raise UnsupportedAttentionError(f"{type(module).__name__} with {unknown}")
    longest = key.shape[2] if layer is None else layer.longest
    if window is not None and longest > window:
        raise UnsupportedAttentionError(f"{longest} tokens in a window of {window}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if layer is None:
        result = _causal(query[0], key[0], value[0], scale)[None]
    elif isinstance(layer, StaticLayer):
        result = layer.attend(query, scale)
    elif query.shape[2] == 1:
        result = _attend_one(query, layer, scale)
    else:
        result = _attend_many(query, layer, scale)
    return result.transpose(1, 2).contiguous(), None


def _attend_one(query: torch.Tensor, layer: SharedPromptLayer, scale: float) -> torch.Tensor:
    """One new token per row: the query is [rows, heads, 1, head size], the result as wide as the values.

    All rows of a prompt are one matrix, so its keys and values are read once. The softmax covers the prompt
    and the row's own tokens together.
    """
    rows, heads, _, size = query.shape
    keys, values = layer.in_blocks()
    groups, length = keys.shape[1:3]
    width = values.shape[-1]
    shared = heads // groups  # query heads per key head
    query = (query * scale).view(rows, groups, shared, size)
    # Multiply keys by queries; the reverse makes oneDNN re-layout the keys.
    own = torch.bmm(keys.flatten(0, 1), query.reshape(-1, shared, size).mT).mT
    own = own.view(rows, groups, shared, length)
    own[..., layer.keys.shape[2] :] = -torch.inf
    results = []
    begin = 0
    for prompt, count in zip(layer.prompts, layer.counts, strict=True):
        end = begin + count
        # [groups, rows * shared, size], against [groups, prompt, size].
        queries = query[begin:end].transpose(0, 1).reshape(groups, -1, size)
        scores = torch.bmm(queries, prompt.keys.mT).view(groups, count, shared, -1)
        weights = torch.cat([scores, own[begin:end].transpose(0, 1)], dim=-1).softmax(dim=-1)
        on_prompt, on_own = weights[..., :-length], weights[..., -length:]
        result = torch.bmm(on_prompt.flatten(1, 2), prompt.values).view(groups, count, shared, width)
        result = result.transpose(0, 1) + torch.bmm(
            on_own.transpose(0, 1).reshape(-1, shared, length), values[begin:end].flatten(0, 1)
        ).view(count, groups, shared, width)
        results.append(result.reshape(count, heads, 1, width))
        begin = end
    return results[0] if len(results) == 1 else torch.cat(results)


def _attend_many(query: torch.Tensor, layer: SharedPromptLayer, scale: float) -> torch.Tensor:
    """Several new tokens per row, one row at a time: query and result are [rows, heads, new, head size]."""
    results = []
    begin = 0
    for prompt, count in zip(layer.prompts, layer.counts, strict=True):
        for row in range(begin, begin + count):
            keys = torch.cat([prompt.keys, layer.keys[row]], dim=1)
            values = torch.cat([prompt.values, layer.values[row]], dim=1)
            results.append(_causal(query[row], keys, values, scale))
        begin += count
    return torch.stack(results)


def _causal(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float) -> torch.Tensor:
    """Causal attention of the last tokens of a sequence.

    Args:
        query: [heads, new, head size].
        keys: [key heads, length, head size].
        values: [key heads, length, value size].
        scale: the factor of the products.

    Returns:
        [heads, new, value size].
    """
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        return _products(query, keys, values, scale)
    shared, new, length = query.shape[0] // keys.shape[0], query.shape[1], keys.shape[1]
    # Without a past, the kernel's own causal mask applies.
    seen = None
    if new < length:
        seen = torch.ones(new, length, dtype=torch.bool, device=query.device).tril(length - new)
    return F.scaled_dot_product_attention(
        query[None],
        keys.repeat_interleave(shared, 0)[None],
        values.repeat_interleave(shared, 0)[None],
        attn_mask=seen,
        is_causal=seen is None,
        scale=scale,
    )[0]


def _products(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float) -> torch.Tensor:
    """`_causal` by plain matrix products, which are faster in bfloat16 on a CPU than torch's kernel."""
    heads, new, size = query.shape
    groups, length, _ = keys.shape
    query = query * scale
    results = []
    for begin in range(0, new, _BLOCK):
        count = min(_BLOCK, new - begin)
        end = length - new + begin + count  # of what this block sees
        queries = query[:, begin : begin + count].reshape(groups, -1, size)
        scores = torch.bmm(queries, keys[:, :end].mT).view(heads, count, end)
        later = torch.ones(count, count, dtype=torch.bool, device=query.device).triu(1)
        scores[..., end - count :].masked_fill_(later, float("-inf"))
        weights = scores.softmax(dim=-1).view(groups, -1, end)
        results.append(torch.bmm(weights, values[:, :end]).view(heads, count, values.shape[-1]))
    return torch.cat(results, dim=1)


def _mask(*args: Any, **options: Any) -> torch.Tensor | None:
    if getattr(_active, "on", False):
        return None  # the layout of the cache determines which tokens attend to which
    mask: torch.Tensor | None = sdpa_mask(*args, **options)
    return mask


AttentionInterface.register(_NAME, _attention)
AttentionMaskInterface.register(_NAME, _mask)
