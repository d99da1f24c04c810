"""`DeviceTokenChooser`: chooses tokens on a GPU, which the host waits for once per step."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from icdpo_chains.errors import PolicyError
from icdpo_chains.policies.guidance import NO_NUMBERS, Guidance, guided_logits, log_share
from icdpo_chains.policies.numbers_ahead import NumbersAhead
from icdpo_chains.policies.sampling import SampleRequest
from icdpo_chains.policies.token_choice import (
    Choice,
    force_tokens,
    penalize_repetition,
    random_numbers,
    usable,
)

__all__ = ["DeviceTokenChooser", "most_tries"]

# More tries than `most_tries` are needed with this probability.
_RARE = 1e-5

# Tries before the host looks whether more are needed.
_MOST = 64


def most_tries(top_p: float) -> int:
    """Returns the number of tries that suffice for a token of the nucleus, almost always.

    A try that falls outside of the nucleus leaves only likelier tokens to the next try. Among many tokens,
    the share that it leaves is uniform, so the number of such tries has a Poisson distribution with the mean
    -log(top_p). A nucleus of few tokens has more than top_p, and needs fewer tries.

    Args:
        top_p: from 0 (excluded) to 1.
    """
    mean = -math.log(top_p)
    tries, probability = 1, math.exp(-mean)
    more = 1 - probability  # the probability that the tries do not suffice
    while more > _RARE and tries < _MOST:
        probability *= mean / tries
        tries, more = tries + 1, more - probability
    return tries


@dataclass(frozen=True)
class _Alike:
    """Rows whose tokens are chosen by the same operations; their numbers may differ.

    Attributes:
        places: int64 [rows], in the batch; `None` for all rows of the batch.
        greedy: whether the temperature is 0.
        top_k: the number of tokens to keep; `None` keeps all.
        tries: see `most_tries`.
    """

    places: torch.Tensor | None
    greedy: bool
    top_k: int | None
    tries: int


@dataclass
class _Nucleus:
    """Rows that try to choose tokens; see `choose_tokens`.

    Attributes:
        alike: the rows.
        probabilities: [rows, tokens]; 0 for tokens that a try has excluded.
        cumulative: their sums.
        tokens: int64 [rows], the last try of each row.
        ids: int64 [rows, tokens], the ids of the tokens with top-k; `None` without.
    """

    alike: _Alike
    probabilities: torch.Tensor
    cumulative: torch.Tensor
    tokens: torch.Tensor
    ids: torch.Tensor | None


class DeviceTokenChooser:
    """Chooses the tokens that `TokenChooser` chooses, without waiting between the operations.

    Each step has a fixed number of tries, of which a row uses as many as it needs. The tokens, their
    log-probabilities and whether they are final come to the host in one transfer. In the rare case that a row
    needs more tries, they follow, with another transfer. The random numbers of many steps are on the device
    already; how many of them a row has used is known there.

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
        self._sampling = [request.sampling for request, _ in rows]
        self._device, self._vocabulary, self._guidance = device, vocabulary, guidance
        self._eos = torch.tensor(sorted(eos_token_ids), dtype=torch.long, device=device)
        self._numbers = NumbersAhead(random_numbers(rows), device)
        self._seen: torch.Tensor | None = None  # bool [rows, vocabulary]; None without repetition penalties
        if any(sampling.repetition_penalty != 1 for sampling in self._sampling):
            seen = torch.zeros(len(rows), vocabulary, dtype=torch.bool)
            for row, (request, _) in enumerate(rows):
                seen[row, torch.tensor(sorted(set(request.context)), dtype=torch.long)] = True
            self._seen = seen.to(device)
        self._arrange(list(range(len(rows))))

    def choose(  # noqa: D102
        self, logits: torch.Tensor, batch: Sequence[int], position: int, forced: Mapping[int, int]
    ) -> Choice:
        if list(batch) != self._batch:
            self._arrange(list(batch))
        norm = torch.logsumexp(logits, dim=-1)
        scores = self._scores(force_tokens(logits, forced), position)
        tokens = torch.empty(len(batch), dtype=torch.long, device=logits.device)
        undecided = torch.zeros(len(batch), dtype=torch.bool, device=logits.device)
        trying = []
        for alike in self._alike:
            own = scores if alike.places is None else scores.index_select(0, alike.places)
            if alike.greedy:
                self._put(tokens, own.argmax(dim=-1), alike)
            else:
                trying.append(self._nucleus(own, alike))
                self._put(undecided, torch.ones_like(trying[-1].tokens, dtype=torch.bool), alike)
        while True:
            self._numbers.reserve(max((nucleus.alike.tries for nucleus in trying), default=0))
            for nucleus in trying:
                self._try(nucleus, tokens, undecided)
            logprobs = logits.gather(-1, tokens[:, None])[:, 0] - norm
            results = [tokens, undecided, norm.isfinite(), self._numbers.used, logprobs.view(torch.int32)]
            # The only wait.
            table = torch.stack([result.long() for result in results]).cpu().numpy()
            if not table[2].all():
                raise PolicyError(NO_NUMBERS)
            self._numbers.have_used(table[3])
            if not table[1].any():
                break
        if self._seen is not None:
            self._seen.scatter_(1, tokens[:, None], True)
        return Choice(tokens, table[0].tolist(), table[4].astype(np.int32).view(np.float32).tolist())

    def _scores(self, logits: torch.Tensor, position: int) -> torch.Tensor:
        """Returns the logits after all adjustments, which are made in the order of `TokenChooser`."""
        if position < self._longest_minimum:
            barred = logits.index_fill(-1, self._eos, -torch.inf)
            logits = torch.where(self._minimum > position, barred, logits)
        if self._guidance is not None and self._guided_rows:
            contrast = self._guidance.logprobs(self._guided_rows)
            own = logits if self._guided is None else logits.index_select(0, self._guided)
            guided = guided_logits(own, contrast, self._beta, self._least)
            logits = guided if self._guided is None else logits.index_copy(0, self._guided, guided)
        if self._seen is not None:
            logits = penalize_repetition(logits, self._seen, self._penalty)
        return logits / self._temperature if self._scales else logits

    def _nucleus(self, scores: torch.Tensor, alike: _Alike) -> _Nucleus:
        ids = None
        if alike.top_k is not None:
            scores, ids = scores.topk(alike.top_k, dim=-1)
        probabilities = scores.softmax(dim=-1)
        tokens = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
        return _Nucleus(alike, probabilities, probabilities.cumsum(dim=-1), tokens, ids)

    def _try(self, nucleus: _Nucleus, tokens: torch.Tensor, undecided: torch.Tensor) -> None:
        """Tries to decide the undecided rows; see `_sample_nucleus`, which does the same with waits."""
        alike, probabilities, cumulative = nucleus.alike, nucleus.probabilities, nucleus.cumulative
        own = undecided if alike.places is None else undecided.index_select(0, alike.places)
        top_p = self._top_p if alike.places is None else self._top_p.index_select(0, alike.places)
        for _ in range(alike.tries):
            total = cumulative[:, -1:].contiguous()
            uniform = self._numbers.next(alike.places, own)[:, None]
            token = torch.minimum(
                torch.searchsorted(cumulative, uniform * total, right=True),
                torch.searchsorted(cumulative, total),
            )
            # NaN has no place among the sums, and is reported with the tokens.
            token = token.clamp(max=cumulative.shape[-1] - 1)
            nucleus.tokens = torch.where(own, token[:, 0], nucleus.tokens)
            if self._keeps_all:
                own = torch.zeros_like(own)
                break
            probabilities.masked_fill_(probabilities <= probabilities.gather(-1, token), 0)
            torch.cumsum(probabilities, dim=-1, out=cumulative)
            own = own & (cumulative[:, -1] >= top_p)
        chosen = nucleus.tokens
        if nucleus.ids is not None:
            chosen = nucleus.ids.gather(-1, chosen[:, None])[:, 0]
        self._put(tokens, chosen, alike)
        self._put(undecided, own, alike)

    def _put(self, results: torch.Tensor, own: torch.Tensor, alike: _Alike) -> None:
        if alike.places is None:
            results.copy_(own)
        else:
            results.index_copy_(0, alike.places, own)

    def _arrange(self, batch: list[int]) -> None:
        """Moves the arguments of all steps of a batch to the device."""
        before = getattr(self, "_batch", batch)
        if batch != before:
            places = [before.index(row) for row in batch]
            self._numbers.keep(places)
            if self._seen is not None:
                self._seen = self._seen.index_select(0, self._long(places))
        self._batch = batch
        rows = [self._sampling[row] for row in batch]
        kinds: dict[tuple[bool, int | None], list[int]] = {}
        for place, sampling in enumerate(rows):
            few = sampling.top_k is not None and sampling.top_k < self._vocabulary
            greedy = sampling.temperature == 0
            kinds.setdefault((greedy, sampling.top_k if few and not greedy else None), []).append(place)
        self._alike = [
            _Alike(
                None if len(kinds) == 1 else self._long(places),
                greedy,
                top_k,
                max(most_tries(rows[place].top_p) for place in places),
            )
            for (greedy, top_k), places in kinds.items()
        ]
        # A threshold that no sum reaches: rows that keep all tokens are decided by the first try.
        self._top_p = self._column([usable(one.top_p) if one.top_p < 1 else math.inf for one in rows])[:, 0]
        self._keeps_all = all(one.top_p == 1 for one in rows)
        self._scales = any(one.temperature not in (0, 1) for one in rows)
        self._temperature = self._column([usable(one.temperature or 1.0) for one in rows])
        self._penalty = self._column([one.repetition_penalty for one in rows])
        self._minimum = self._long([one.min_new_tokens for one in rows])[:, None]
        self._longest_minimum = max(one.min_new_tokens for one in rows)
        guided = [place for place, one in enumerate(rows) if one.guided]
        self._guided_rows = [batch[place] for place in guided]
        self._guided = None if len(guided) == len(rows) else self._long(guided)
        self._beta = self._column([rows[place].guidance for place in guided])
        self._least = self._column([log_share(rows[place].alpha) for place in guided])

    def _long(self, values: Sequence[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long, device=self._device)

    def _column(self, values: Sequence[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self._device)[:, None]
