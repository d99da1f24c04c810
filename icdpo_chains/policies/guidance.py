"""`Guidance`: guided decoding, which contrasts two contexts at each token.

Alignment-aware decoding (arXiv 2509.26169) compares a DPO model with its reference. Here both are the same
model, in the context d+ that a request samples from and in its contrast context d-. Among the tokens with
pi(t|d+) >= alpha max pi(.|d+), a token t has the score

    log pi(t|d+) + beta (log pi(t|d+) - log pi(t|d-))

Temperature, top-k and top-p are applied to these scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from icdpo_chains.errors import PolicyError
from icdpo_chains.policies.sampling import SampleRequest

if TYPE_CHECKING:
    import torch

__all__ = ["NO_NUMBERS", "Guidance", "Step", "guided_logits", "log_normalizer", "log_share"]

Step = Callable[["torch.Tensor", "torch.Tensor | None"], "torch.Tensor"]
"""`step(tokens, kept)`: feeds one token a row, after dropping all rows but `kept` (indices into the rows of
the step before; `None` keeps all); returns the logits [rows, vocabulary] of the next token."""

NO_NUMBERS = (
    "the model's logits are NaN (not a number) or infinite: its weights are broken, or its dtype overflows; "
    "load it with dtype='float32'"
)

# A token that is impossible in the contrast context must not have an infinite score.
_LEAST_LOGPROB = -1e4


class Guidance:
    """The contrast contexts of a batch, which grow in step with the guided rows.

    Args:
        first_logits: for each guided request, the logits [vocabulary] that follow its contrast context.
        step: reads one token a row; the rows are those of the first guided request, then of the second, ...
        requests: all requests of the batch.
    """

    def __init__(
        self, first_logits: Sequence[torch.Tensor], step: Step, requests: Sequence[SampleRequest]
    ) -> None:
        import torch

        self._step = step
        self._rows: list[int] = []  # the numbers, within the batch, of the guided rows
        begin = 0
        for request in requests:
            if request.sampling.guided:
                self._rows += range(begin, begin + request.n)
            begin += request.n
        counts = torch.tensor([request.n for request in requests if request.sampling.guided])
        logits = torch.stack([logits.float() for logits in first_logits])
        logits = logits.repeat_interleave(counts.to(logits.device), dim=0)
        self._logprobs: torch.Tensor = logits.log_softmax(dim=-1)
        # Numbers of rows and their log-probabilities; fetched from the device at the end, in one transfer.
        self._pending: list[tuple[list[int], torch.Tensor]] = []
        # The last batch, and the guided rows' places in it: a list of places would stop a GPU at each step.
        self._placed: list[int] = []
        self._placed_own = torch.empty(0, dtype=torch.long)

    def logprobs(self, rows: Sequence[int]) -> torch.Tensor:
        """Returns log pi(.|d-) of guided rows, float32 [rows, vocabulary].

        Args:
            rows: the rows' numbers within the batch.
        """
        if list(rows) == self._rows:
            return self._logprobs
        return self._logprobs[[self._rows.index(row) for row in rows]]

    def record(self, tokens: torch.Tensor, batch: Sequence[int]) -> None:
        """Records the log-probabilities of the chosen tokens.

        Args:
            tokens: one for each row of the batch.
            batch: the numbers of these rows.
        """
        own = self._own(tokens, batch)
        self._pending.append((self._rows, self._logprobs.gather(-1, own[:, None])[:, 0]))

    def read(self, tokens: torch.Tensor, batch: Sequence[int]) -> None:
        """Drops the rows that have left the batch, then feeds the chosen tokens; see `record`."""
        import torch

        left = set(batch)
        places = [place for place, row in enumerate(self._rows) if row in left]
        kept = None
        if len(places) < len(self._rows):
            kept = torch.tensor(places, dtype=torch.long, device=tokens.device)
            self._rows = [self._rows[place] for place in places]
        if self._rows:
            self._logprobs = self._step(self._own(tokens, batch), kept).float().log_softmax(dim=-1)
        else:
            self._logprobs = self._logprobs[:0]

    def recorded(self) -> dict[int, list[float]]:
        """Returns the log-probabilities of the tokens of each guided row, by the number of the row.

        Raises:
            PolicyError: a log-probability is NaN or infinite. The check is at the end, because a check at
                each step would stall a GPU.
        """
        import torch

        found: dict[int, list[float]] = {}
        values = iter(torch.cat([logprobs for _, logprobs in self._pending]).tolist())
        for rows, _ in self._pending:
            for row in rows:
                value = next(values)
                if not math.isfinite(value):
                    raise PolicyError(NO_NUMBERS)
                found.setdefault(row, []).append(value)
        return found

    def _own(self, tokens: torch.Tensor, batch: Sequence[int]) -> torch.Tensor:
        """Returns the tokens of the guided rows."""
        import torch

        if list(batch) == self._rows:
            return tokens
        if (self._placed, len(self._placed_own)) != (list(batch), len(self._rows)):
            places = {row: place for place, row in enumerate(batch)}
            self._placed = list(batch)
            self._placed_own = torch.tensor(
                [places[row] for row in self._rows], dtype=torch.long, device=tokens.device
            )
        return tokens.index_select(0, self._placed_own)


def guided_logits(
    logits: torch.Tensor,
    contrast: torch.Tensor,
    guidance: float | torch.Tensor,
    least: float | torch.Tensor,
) -> torch.Tensor:
    """Returns the scores of all tokens; -infinity for implausible tokens.

    These are the scores of the module's docstring plus a constant for each row, so that they approach the
    plain logits as beta approaches 0: a repetition penalty depends on their scale.

    Args:
        logits: the model's logits in the context d+, float32 [rows, vocabulary]; -infinity for tokens that
            can't be chosen.
        contrast: log pi(.|d-), float32 [rows, vocabulary].
        guidance: beta, or that of each row [rows, 1].
        least: the logarithm of alpha, or that of each row [rows, 1]; see `log_share`.
    """
    import torch

    plausible = logits >= logits.amax(dim=-1, keepdim=True) + least
    plausible &= logits > -torch.inf
    expert = logits - torch.logsumexp(logits, dim=-1, keepdim=True)
    finite = contrast.nan_to_num(nan=_LEAST_LOGPROB).clamp(min=_LEAST_LOGPROB)
    scores = logits + guidance * (expert - finite)
    return scores.masked_fill(~plausible, -torch.inf)


def log_share(alpha: float) -> float:
    """Returns the logarithm of alpha; minus infinity for 0."""
    return math.log(alpha) if alpha > 0 else -math.inf


def log_normalizer(logits: torch.Tensor) -> torch.Tensor:
    """Returns the log-sum-exp [rows] of logits [rows, vocabulary].

    Raises:
        PolicyError: a result is not finite.
    """
    import torch

    norm = torch.logsumexp(logits, dim=-1)
    if not bool(norm.isfinite().all()):
        raise PolicyError(NO_NUMBERS)
    return norm
