"""Early rejection: drops candidates with low scores during sampling.

Successive halving (arXiv 1502.07943): each round samples about the same number of tokens, and the better half
enters the next round, which is twice as long. The scores are known during sampling because the other side of
the instant score is computed in step, block by block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from icdpo_chains.policies.branches import Branches, token_logprobs

if TYPE_CHECKING:
    from icdpo_chains.policies.decoding import Row
    from icdpo_chains.policies.sampling import SampleRequest

__all__ = ["Halving", "looks"]


def looks(n: int, finalists: int, max_new_tokens: int) -> dict[int, int]:
    """Returns the numbers of tokens at which candidates are compared, with the numbers of survivors."""
    rounds = max(0, math.ceil(math.log2(n / finalists)))
    return {
        max_new_tokens >> (rounds - i): max(finalists, math.ceil(n / 2 ** (i + 1)))
        for i in range(rounds)
        if max_new_tokens >> (rounds - i) > 0
    }


@dataclass
class _Field:
    """The candidates of one request with `finalists`."""

    rows: list[int]
    looks: dict[int, int]


class Halving:
    """Selects the rows to drop among the requests with `finalists`.

    Args:
        branches: rows of the contrast prompts, one for each candidate of the watched requests.
        first_logits: for each watched request, the logits [vocabulary] that follow its contrast context.
        requests: all requests of the batch; requests without `finalists` are not watched.
        most_logits: the maximum number of logits in memory at a time.
    """

    def __init__(
        self,
        branches: Branches,
        first_logits: Sequence[torch.Tensor],
        requests: Sequence[SampleRequest],
        most_logits: int,
    ) -> None:
        self._branches, self._most_logits = branches, most_logits
        self._fields: list[_Field] = []
        begin = 0
        for request in requests:
            if request.finalists is not None:
                rows = list(range(begin, begin + request.n))
                plan = looks(request.n, request.finalists, request.sampling.max_new_tokens)
                self._fields.append(_Field(rows, plan))
            begin += request.n
        self._rows = [row for field in self._fields for row in field.rows]  # in the order of the branches
        counts = torch.tensor([len(field.rows) for field in self._fields], device=first_logits[0].device)
        self._logits = torch.stack(list(first_logits)).repeat_interleave(counts, 0)
        self._length = 0

    def look(self, rows: Sequence[Row], live: Sequence[int]) -> None:
        """Rejects rows with low scores, if a round ends here.

        Args:
            rows: all rows of the batch.
            live: the numbers of the unfinished rows.
        """
        going = set(live)
        length = max((len(rows[row].token_ids) for row in live), default=0)
        due = [field for field in self._fields if length in field.looks]
        if not due:
            return
        self.read(rows)
        for field in due:
            scores = {row: _score(rows[row]) for row in field.rows if row in going}
            if None in scores.values():  # a thought does not predict the score of its answer
                continue
            ranked = sorted(scores, key=lambda row: -(scores[row] or 0.0))  # ties go to the first
            for row in ranked[field.looks[length] :]:
                rows[row].rejected = True

    def read(self, rows: Sequence[Row]) -> None:
        """Brings the contrast's log-probabilities up to date."""
        places = [i for i, row in enumerate(self._rows) if len(rows[row].token_ids) > self._length]
        if len(places) < len(self._rows):
            if not places:
                return
            kept = torch.tensor(places, device=self._logits.device)
            self._branches.keep(kept)
            self._rows, self._logits = [self._rows[i] for i in places], self._logits[kept]
        longest = max(len(rows[row].token_ids) for row in self._rows)
        step = max(1, self._most_logits // (len(self._rows) * self._logits.shape[-1]))
        for begin in range(self._length, longest, step):
            self._read_block(rows, begin, min(begin + step, longest))
        self._length = longest

    def _read_block(self, rows: Sequence[Row], begin: int, end: int) -> None:
        # Padded on the right: ended rows are dropped before the next tokens are read.
        ids = torch.zeros(len(self._rows), end - begin, dtype=torch.long)
        for i, row in enumerate(self._rows):
            own = rows[row].token_ids[begin:end]
            ids[i, : len(own)] = torch.tensor(own, dtype=torch.long)
        ids = ids.to(self._logits.device)
        logits = self._branches.read(ids)
        before = torch.cat([self._logits[:, None], logits[:, :-1]], dim=1)
        self._logits = logits[:, -1]
        for row, values in zip(self._rows, token_logprobs(before, ids).tolist(), strict=True):
            count = len(rows[row].token_ids[begin:end])
            rows[row].contrast_logprobs += values[:count]


def _score(row: Row) -> float | None:
    """Returns the mean over the answer's tokens so far; `None` for a row without an answer."""
    thought = row.thought_tokens()
    if thought is None or thought == len(row.token_ids):
        return None
    pairs = zip(row.logprobs[thought:], row.contrast_logprobs[thought:], strict=True)
    differences = [expert - contrast for expert, contrast in pairs]
    return math.fsum(differences) / len(differences) if all(map(math.isfinite, differences)) else -math.inf
