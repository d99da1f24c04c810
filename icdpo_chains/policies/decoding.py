"""`decode`: from logits to samples, for any model that gives the logits of the next token."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from icdpo_chains.errors import PolicyError
from icdpo_chains.policies.sampling import Sample, SamplingParams, choose_tokens, penalize_repetition

if TYPE_CHECKING:
    import torch

__all__ = ["Step", "decode"]

Step = Callable[["torch.Tensor", "torch.Tensor | None"], "torch.Tensor"]
"""`step(tokens, kept)`: feeds one token a row, after dropping all rows but `kept` (indices into the rows of
the step before; `None` keeps all); returns the logits [rows, vocabulary] of the next token."""


def decode(
    first_logits: torch.Tensor,
    step: Step,
    n: int,
    sampling: SamplingParams,
    *,
    context: Sequence[int],
    eos_token_ids: Collection[int],
    tokenizer: Any,
) -> list[Sample]:
    """Samples n continuations of one context that has been read already.

    Rows that are finished leave the batch. The log-probabilities are recorded from the logits as the model
    gave them, before anything is done to them.

    Args:
        first_logits: [vocabulary], the logits that follow the context.
        step: reads one token a row.
        n: how many continuations.
        sampling: how they are sampled.
        context: the ids of the context; the repetition penalty counts them.
        eos_token_ids: the ids that end a continuation.
        tokenizer: decodes ids to text.

    Raises:
        PolicyError: the model's logits are not numbers.
    """
    import torch

    if torch.isnan(first_logits).any():
        raise PolicyError(
            "the model's logits are NaN (not a number): its weights are broken, or its dtype overflows; "
            "load it with dtype='float32'"
        )
    device = first_logits.device
    eos = torch.tensor(sorted(eos_token_ids), dtype=torch.long, device=device)
    seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
    uniforms = torch.stack(
        [
            torch.from_numpy(np.random.default_rng([seed, row]).random(sampling.max_new_tokens))
            for row in range(n)
        ]
    )
    if device.type != "mps":  # which has no float64
        uniforms = uniforms.to(device)
    rows = [_Row(tokenizer, sampling.stop) for _ in range(n)]
    live = torch.arange(n)
    logits = first_logits.float().expand(n, -1)
    seen: torch.Tensor | None = None
    if sampling.repetition_penalty != 1:
        seen = torch.zeros(logits.shape, dtype=torch.bool, device=device)
        seen[:, torch.tensor(sorted(set(context)), dtype=torch.long, device=device)] = True

    for position in range(sampling.max_new_tokens):
        shaped = logits if seen is None else penalize_repetition(logits, seen, sampling.repetition_penalty)
        if position < sampling.min_new_tokens:
            shaped = shaped.index_fill(-1, eos, -torch.inf)
        tokens = choose_tokens(shaped, uniforms[live, position], sampling)
        chosen = logits.gather(-1, tokens[:, None])[:, 0] - torch.logsumexp(logits, dim=-1)
        if seen is not None:
            seen.scatter_(-1, tokens[:, None], True)
        for row, token, logprob in zip(live.tolist(), tokens.tolist(), chosen.tolist(), strict=True):
            rows[row].append(token, logprob, ended=token in eos_token_ids)
        going = torch.tensor([i for i, row in enumerate(live.tolist()) if not rows[row].finished])
        if len(going) == 0 or position + 1 == sampling.max_new_tokens:
            break
        kept = None
        if len(going) < len(live):
            kept = going.to(device)
            live, tokens = live[going], tokens[kept]
            seen = None if seen is None else seen[kept]
        logits = step(tokens, kept).float()
    return [row.sample() for row in rows]


@dataclass
class _Row:
    """One continuation while it grows."""

    tokenizer: Any
    stop: tuple[str, ...]
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    text: str | None = None
    finished: bool = False

    def append(self, token: int, logprob: float, *, ended: bool) -> None:
        self.token_ids.append(token)
        self.logprobs.append(logprob)
        self.finished = ended
        if not ended and self.stop:
            self._cut_at_stop_string()

    def _cut_at_stop_string(self) -> None:
        text = self._decoded(len(self.token_ids))
        cuts = [at for at in (text.find(stop) for stop in self.stop) if at >= 0]
        if not cuts:
            return
        self.text = text[: min(cuts)]
        # Keep the tokens that the text before the stop string is made of, one that straddles it included.
        count = len(self.token_ids)
        while count > 0 and self._decoded(count - 1).startswith(self.text):
            count -= 1
        del self.token_ids[count:], self.logprobs[count:]
        self.finished = True

    def _decoded(self, count: int) -> str:
        return str(
            self.tokenizer.decode(
                self.token_ids[:count], skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def sample(self) -> Sample:
        reason: Literal["stop", "length"] = "stop" if self.finished else "length"
        text = self._decoded(len(self.token_ids)) if self.text is None else self.text
        return Sample(tuple(self.token_ids), tuple(self.logprobs), text, reason)
