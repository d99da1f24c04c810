"""`MemoryEstimate`: how much memory requests take together, compared with the free memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from icdpo_chains.policies.policy import ScoreRequest
from icdpo_chains.policies.sampling import SampleRequest
from icdpo_chains.policies.transformers.branches import trial_ids
from icdpo_chains.policies.transformers.device_memory import free_bytes, is_out_of_memory

__all__ = ["Load", "MemoryEstimate", "Request", "StateSize", "rows_of", "sampling_bytes", "scoring_bytes"]

Request = SampleRequest | ScoreRequest

_log = logging.getLogger(__name__)

# Bytes per logit while tokens are chosen: the logits of two steps in float32, the scaled ones, their
# probabilities, and these summed up. Guided decoding holds as much again for its contrast.
_CHOOSING = 24

# Bytes per logit while continuations are scored: the model's own, and a few in float32.
_SCORING = 6

# The most logits that are held while continuations are scored.
_MOST_LOGITS = 2**28

# Caches have room for a whole multiple of this number of tokens.
_MULTIPLE = 16

# Stands for the memory of a device that does not say how much it has: in rows.
_UNKNOWN = 2**20

# The numbers of tokens that are read to measure the cache, one after the other.
_PROBES = (1, 8)


@dataclass(frozen=True)
class StateSize:
    """The bytes of a model's cache on one device.

    Attributes:
        row: for each row, whatever its length, as in recurrent layers.
        token: for each token of a row.
    """

    row: int
    token: int


@dataclass(frozen=True)
class Load:
    """What requests take of a device's memory.

    Attributes:
        share: the share of the free memory that they take; above 1, they do not fit.
        needed: the bytes that they take; `None` if they can't be estimated.
        free: the free bytes.
        device: the device with the largest share.
    """

    share: float
    needed: int | None
    free: int | None
    device: str


class MemoryEstimate:
    """Estimates the memory of requests. The sizes are measured on a few tokens, for any architecture.

    Args:
        model: a `transformers` causal language model.
        shares: whether the rows of a request share its prompt.
    """

    def __init__(self, model: Any, shares: Callable[[], bool]) -> None:
        self._model, self._shares = model, shares
        self._sizes: dict[torch.device, StateSize] | None = None

    def load(self, requests: Sequence[Request]) -> Load:
        """Returns the load of requests that are computed together, on the device where it is largest."""
        if self._sizes is None:
            self._sizes = self._measured()
        loads = [self._on(device, size, requests) for device, size in self._sizes.items()]
        rows = sum(map(rows_of, requests))
        return max(
            (load for load in loads if load is not None),
            key=lambda load: load.share,
            default=Load(rows / _UNKNOWN, None, None, str(self._model.device)),
        )

    def _on(self, device: torch.device, size: StateSize, requests: Sequence[Request]) -> Load | None:
        free = free_bytes(device)
        if free is None:
            return None
        vocabulary = self._model.config.get_text_config().vocab_size
        # A step of a fixed shape holds the prompts once more, padded to the longest.
        padded = device.type == "cuda"
        sampled = [request for request in requests if isinstance(request, SampleRequest)]
        scored = [request for request in requests if isinstance(request, ScoreRequest)]
        shares = self._shares()
        needed = sampling_bytes(sampled, size, vocabulary, shares=shares, padded=padded)
        needed += scoring_bytes(scored, size, vocabulary, shares=shares)
        return Load(needed / max(1, free), needed, free, str(device))

    @torch.inference_mode()
    def _measured(self) -> dict[torch.device, StateSize]:
        """Reads a few tokens twice: one text gives both sizes, by the growth of its cache."""
        try:
            cache = DynamicCache(config=self._model.config)
            sizes: list[dict[torch.device, int]] = []
            for count in _PROBES:
                ids = trial_ids(self._model, count)[None]
                self._model(input_ids=ids, past_key_values=cache, use_cache=True)
                sizes.append(_bytes_of(cache))
        except Exception as error:  # an unknown architecture may raise anything
            if is_out_of_memory(error):
                return {}  # an estimate would not help: the requests show what fits
            _log.debug("the cache of %s can't be measured: %s", type(self._model).__name__, error)
            return {}
        before, after = sizes
        found = {}
        for device, size in after.items():
            token = max(0, size - before.get(device, 0)) // _PROBES[1]
            found[device] = StateSize(max(0, before.get(device, 0) - token), token)
        return found


def sampling_bytes(
    requests: Sequence[SampleRequest], size: StateSize, vocabulary: int, *, shares: bool, padded: bool
) -> int:
    """Estimates the bytes of sampling for requests together.

    Args:
        requests: the requests.
        size: the size of the model's cache.
        vocabulary: the number of tokens.
        shares: whether the rows of a request share its prompt.
        padded: whether the prompts are held once more, padded to the longest.
    """
    if not requests:
        return 0
    sides = [(context, request) for request in requests for context in _contexts(request)]
    lengths = [len(context) for context, _ in sides]
    prompts = sum(size.row + size.token * length for length in lengths)
    # Once more: in the prefix cache, or padded.
    prompts += size.token * (max(lengths) * len(lengths) if padded else sum(lengths))
    room = -(-max(request.sampling.max_new_tokens for request in requests) // _MULTIPLE) * _MULTIPLE
    if shares:
        own = sum(request.n for _, request in sides) * (size.row + size.token * room)
        choosing = sum(request.n * (1 + request.sampling.guided) for request in requests)
    else:  # one request after the other, and each row with a copy of its prompt
        own = max(
            request.n * sum(size.row + size.token * (len(each) + room) for each in _contexts(request))
            for request in requests
        )
        choosing = max(request.n * (1 + request.sampling.guided) for request in requests)
    return prompts + own + choosing * vocabulary * _CHOOSING


def scoring_bytes(requests: Sequence[ScoreRequest], size: StateSize, vocabulary: int, *, shares: bool) -> int:
    """Estimates the bytes of scoring the continuations of requests together; see `sampling_bytes`."""
    needed = tokens = 0
    for request in requests:
        rows, longest = len(request.continuations), max(map(len, request.continuations), default=0)
        copies = 2 if shares else 2 + rows
        needed += copies * (size.row + size.token * len(request.context))
        needed += rows * (size.row + size.token * longest)
        tokens += rows * longest
    return needed + min(tokens * vocabulary, max(_MOST_LOGITS, vocabulary)) * _SCORING


def rows_of(request: Request) -> int:
    """Returns the number of rows that a request adds to a batch."""
    return request.n if isinstance(request, SampleRequest) else len(request.continuations)


def _contexts(request: SampleRequest) -> list[Sequence[int]]:
    both = request.finalists is not None or request.sampling.guided
    return [request.context, request.contrast] if both else [request.context]


def _bytes_of(cache: Any) -> dict[torch.device, int]:
    sizes: dict[torch.device, int] = {}
    for layer in cache.layers:
        for tensor in _tensors(vars(layer).values()):
            sizes[tensor.device] = sizes.get(tensor.device, 0) + tensor.nbytes
    return sizes


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)
        elif isinstance(value, dict):
            yield from _tensors(value.values())
