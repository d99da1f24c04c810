"""`TokenChooser`: chooses the rows' next tokens from their logits."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from icdpo_chains.policies.guidance import Guidance, guided_logits
from icdpo_chains.policies.sampling import SampleRequest, SamplingParams

if TYPE_CHECKING:
    import torch

__all__ = ["TokenChooser", "choose_tokens", "penalize_repetition"]


class TokenChooser:
    """Chooses the rows' tokens: rows with the same parameters together, each with its own random numbers.

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
        seeds: dict[int, int] = {}
        self._random: list[np.random.Generator] = []
        self._seen: dict[int, torch.Tensor] = {}
        for i, (request, number) in enumerate(rows):
            seed = request.sampling.seed
            if seed is None:  # one seed for all rows of a request
                seed = seeds.setdefault(id(request), secrets.randbits(63))
            self._random.append(np.random.default_rng([seed, number]))
            if request.sampling.repetition_penalty != 1:
                context = torch.tensor(sorted(set(request.context)), dtype=torch.long, device=device)
                self._seen[i] = torch.zeros(vocabulary, dtype=torch.bool, device=device)
                self._seen[i][context] = True

    def tokens(self, logits: torch.Tensor, live: list[int], position: int) -> torch.Tensor:
        """Returns the next token of the live rows, int64 [rows], from their logits."""
        import torch

        kinds: dict[SamplingParams, list[int]] = {}
        for place, row in enumerate(live):
            kinds.setdefault(self._kinds[row], []).append(place)
        if len(kinds) == 1:
            return self._alike(logits, live, position, *kinds)
        tokens = torch.empty(len(live), dtype=torch.long, device=logits.device)
        for kind, places in kinds.items():
            rows = [live[place] for place in places]
            tokens[places] = self._alike(logits[places], rows, position, kind)
        return tokens

    def _alike(
        self, logits: torch.Tensor, rows: list[int], position: int, sampling: SamplingParams
    ) -> torch.Tensor:
        import torch

        too_short = position < sampling.min_new_tokens
        if sampling.guided and self._guidance is not None:
            contrast = self._guidance.logprobs(rows)
            barred = self._eos if too_short else None
            logits = guided_logits(logits, contrast, sampling.guidance, sampling.alpha, barred)
        seen = None
        if sampling.repetition_penalty != 1:
            seen = torch.stack([self._seen[row] for row in rows])
            logits = penalize_repetition(logits, seen, sampling.repetition_penalty)
        if too_short:
            logits = logits.index_fill(-1, self._eos, -torch.inf)
        random = [self._random[row] for row in rows]
        tokens = choose_tokens(
            logits, lambda places: [random[i].random(dtype=np.float32) for i in places], sampling
        )
        if seen is not None:
            for row, token in zip(rows, tokens, strict=True):
                self._seen[row][token] = True
        return tokens


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
    scaled = logits if sampling.temperature == 1 else logits / sampling.temperature
    if sampling.top_k is None or sampling.top_k >= logits.shape[-1]:
        return _sample_nucleus(scaled.softmax(dim=-1), draw, sampling.top_p)
    scaled, tokens = scaled.topk(sampling.top_k, dim=-1)
    chosen = _sample_nucleus(scaled.softmax(dim=-1), draw, sampling.top_p)
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


def penalize_repetition(logits: torch.Tensor, seen: torch.Tensor, penalty: float) -> torch.Tensor:
    """Makes seen tokens less likely (arXiv 1909.05858).

    Args:
        logits: [rows, vocabulary].
        seen: bool [rows, vocabulary].
        penalty: divides positive logits and multiplies negative logits.
    """
    import torch

    penalized = torch.where(logits < 0, logits * penalty, logits / penalty)
    return torch.where(seen, penalized, logits)
