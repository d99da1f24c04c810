"""`TokenChooser`: chooses the rows' next tokens from their logits."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from icdpo_chains.policies.guidance import Guidance, guided_logits, log_normalizer, log_share
from icdpo_chains.policies.sampling import SampleRequest, SamplingParams

if TYPE_CHECKING:
    import torch

__all__ = [
    "Choice",
    "Chooser",
    "ChooserOf",
    "TokenChooser",
    "choose_tokens",
    "force_tokens",
    "penalize_repetition",
    "random_numbers",
    "usable",
]

# In float32, a smaller top-p is 0, and scores divided by a smaller temperature are infinite. Any value this
# small takes the likeliest token.
_LEAST = 1e-30


@dataclass(frozen=True)
class Choice:
    """The next tokens of a batch.

    Attributes:
        tokens: int64 [rows], on the device of the logits.
        token_ids: the same tokens on the host.
        logprobs: their log-probabilities in the model's unmodified distribution.
    """

    tokens: torch.Tensor
    token_ids: list[int]
    logprobs: list[float]


class Chooser(Protocol):
    """Chooses the rows' tokens."""

    def choose(
        self, logits: torch.Tensor, batch: Sequence[int], position: int, forced: Mapping[int, int]
    ) -> Choice:
        """Chooses a token for each row of a batch.

        Args:
            logits: float32 [rows of the batch, vocabulary].
            batch: the numbers of the rows, ascending. A row that has left the batch does not return.
            position: the number of tokens of each row so far.
            forced: the tokens that are known already, by the row's place in the batch.

        Raises:
            PolicyError: the logits are NaN or infinite.
        """
        ...


class ChooserOf(Protocol):
    """Builds the chooser of some rows; see `TokenChooser`."""

    def __call__(  # noqa: D102
        self,
        rows: Sequence[tuple[SampleRequest, int]],
        eos_token_ids: Collection[int],
        vocabulary: int,
        device: torch.device,
        guidance: Guidance | None = None,
    ) -> Chooser: ...


class TokenChooser:
    """Chooses the rows' tokens: rows with the same parameters together, each with its own random numbers.

    Each try looks at the results of the try before it. That costs nothing on a CPU; a GPU would stop each
    time, and has `DeviceTokenChooser`.

    Args:
        rows: the request of each row, and the row's number within the request.
        eos_token_ids: the ids that end a continuation.
        vocabulary: the number of tokens.
        device: the device of the logits.
        guidance: the contrast contexts of the guided rows; `None` without guided rows.
    """

    def __init__(
        self,
        rows: Sequence[tuple[SampleRequest, int]],
        eos_token_ids: Collection[int],
        vocabulary: int,
        device: torch.device,
        guidance: Guidance | None = None,
    ) -> None:
        import torch

        self._kinds = [replace(request.sampling, seed=None) for request, _ in rows]
        self._guidance = guidance
        self._eos = torch.tensor(sorted(eos_token_ids), dtype=torch.long, device=device)
        self._random = random_numbers(rows)
        self._seen: dict[int, torch.Tensor] = {}
        for i, (request, _) in enumerate(rows):
            if request.sampling.repetition_penalty != 1:
                context = torch.tensor(sorted(set(request.context)), dtype=torch.long, device=device)
                self._seen[i] = torch.zeros(vocabulary, dtype=torch.bool, device=device)
                self._seen[i][context] = True

    def choose(  # noqa: D102
        self, logits: torch.Tensor, batch: Sequence[int], position: int, forced: Mapping[int, int]
    ) -> Choice:
        norm = log_normalizer(logits)
        tokens = self._tokens(force_tokens(logits, forced), batch, position)
        logprobs = logits.gather(-1, tokens[:, None])[:, 0] - norm
        return Choice(tokens, tokens.tolist(), logprobs.tolist())

    def _tokens(self, logits: torch.Tensor, batch: Sequence[int], position: int) -> torch.Tensor:
        import torch

        kinds: dict[SamplingParams, list[int]] = {}
        for place, row in enumerate(batch):
            kinds.setdefault(self._kinds[row], []).append(place)
        if len(kinds) == 1:
            return self._alike(logits, list(batch), position, *kinds)
        tokens = torch.empty(len(batch), dtype=torch.long, device=logits.device)
        for kind, places in kinds.items():
            rows = [batch[place] for place in places]
            tokens[places] = self._alike(logits[places], rows, position, kind)
        return tokens

    def _alike(
        self, logits: torch.Tensor, rows: list[int], position: int, sampling: SamplingParams
    ) -> torch.Tensor:
        import torch

        if position < sampling.min_new_tokens:
            logits = logits.index_fill(-1, self._eos, -torch.inf)
        if sampling.guided and self._guidance is not None:
            contrast = self._guidance.logprobs(rows)
            logits = guided_logits(logits, contrast, sampling.guidance, log_share(sampling.alpha))
        seen = None
        if sampling.repetition_penalty != 1:
            seen = torch.stack([self._seen[row] for row in rows])
            logits = penalize_repetition(logits, seen, sampling.repetition_penalty)
        random = [self._random[row] for row in rows]
        tokens = choose_tokens(
            logits, lambda places: [random[i].random(dtype=np.float32) for i in places], sampling
        )
        if seen is not None:
            for row, token in zip(rows, tokens, strict=True):
                self._seen[row][token] = True
        return tokens


def random_numbers(rows: Sequence[tuple[SampleRequest, int]]) -> list[np.random.Generator]:
    """Returns the source of each row's random numbers: it depends on the seed and the row's number alone."""
    seeds: dict[int, int] = {}
    generators: list[np.random.Generator] = []
    for request, number in rows:
        seed = request.sampling.seed
        if seed is None:  # one seed for all rows of a request
            seed = seeds.setdefault(id(request), secrets.randbits(63))
        generators.append(np.random.default_rng([seed, number]))
    return generators


def force_tokens(logits: torch.Tensor, forced: Mapping[int, int]) -> torch.Tensor:
    """Returns logits that leave one token to some of the rows.

    Args:
        logits: [rows, vocabulary].
        forced: the tokens, by row.
    """
    if not forced:
        return logits
    result = logits.clone()
    for row, token in forced.items():
        result[row].fill_(-math.inf)
        result[row, token].copy_(logits[row, token])
    return result


def usable(value: float) -> float:
    """Returns a temperature or top-p that chooses the same tokens and is above 0 in float32."""
    return max(value, _LEAST)


def choose_tokens(
    logits: torch.Tensor, draw: Callable[[Sequence[int]], Sequence[float]], sampling: SamplingParams
) -> torch.Tensor:
    """Samples one token for each row.

    A row's token depends only on its logits and its random numbers, so a candidate is the same in any batch.
    The order is that of `transformers`: temperature, top-k, top-p.

    Args:
        logits: float32 [rows, vocabulary].
        draw: returns the next random number, in [0, 1), of each of the given rows.
        sampling: temperature, top-p and top-k are used.

    Returns:
        int64 [rows].
    """
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    scaled = logits if sampling.temperature == 1 else logits / usable(sampling.temperature)
    top_p = usable(sampling.top_p)
    if sampling.top_k is None or sampling.top_k >= logits.shape[-1]:
        return _sample_nucleus(scaled.softmax(dim=-1), draw, top_p)
    scaled, tokens = scaled.topk(sampling.top_k, dim=-1)
    chosen = _sample_nucleus(scaled.softmax(dim=-1), draw, top_p)
    return tokens.gather(-1, chosen[:, None])[:, 0]


def _sample_nucleus(
    probabilities: torch.Tensor, draw: Callable[[Sequence[int]], Sequence[float]], top_p: float
) -> torch.Tensor:
    """Samples from the likeliest tokens that together reach top-p, without sorting.

    Rejection sampling with a pivot, as in FlashInfer (https://flashinfer.ai/2025/03/10/sampling.html): sample
    a token; if the likelier tokens reach top-p together, the token is outside the nucleus. Then remove it and
    all tokens that are not likelier, and try again. The nucleus itself is never changed, so an accepted token
    has the nucleus's distribution. Equally likely tokens are inside or outside together.

    Args:
        probabilities: [rows, vocabulary]; overwritten.
        draw: see `choose_tokens`.
        top_p: from 0 (excluded) to 1.

    Returns:
        int64 [rows].
    """
    import torch

    device = probabilities.device
    tokens = torch.empty(len(probabilities), dtype=torch.long, device=device)
    rows = torch.arange(len(probabilities))
    cumulative = probabilities.cumsum(dim=-1)
    while True:
        total = cumulative[:, -1:].contiguous()
        uniform = torch.tensor(draw(rows.tolist()), dtype=cumulative.dtype).to(device)[:, None]
        # Rounding may raise the product to the total: the last token with a probability is then chosen.
        token = torch.minimum(
            torch.searchsorted(cumulative, uniform * total, right=True),
            torch.searchsorted(cumulative, total),
        )
        tokens[rows.to(device)] = token[:, 0]
        if top_p == 1:
            return tokens
        probabilities.masked_fill_(probabilities <= probabilities.gather(-1, token), 0)
        torch.cumsum(probabilities, dim=-1, out=cumulative)
        outside = (cumulative[:, -1] >= top_p).cpu()
        if not bool(outside.any()):
            return tokens
        left = outside.to(device)
        rows, probabilities, cumulative = rows[outside], probabilities[left], cumulative[left]


def penalize_repetition(
    logits: torch.Tensor, seen: torch.Tensor, penalty: float | torch.Tensor
) -> torch.Tensor:
    """Makes seen tokens less likely (arXiv 1909.05858).

    Args:
        logits: [rows, vocabulary].
        seen: bool [rows, vocabulary].
        penalty: divides positive logits and multiplies negative logits; or that of each row [rows, 1].
    """
    import torch

    penalized = torch.where(logits < 0, logits * penalty, logits / penalty)
    return torch.where(seen, penalized, logits)
