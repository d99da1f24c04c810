"""`decode`: from logits to samples, for any model that gives the logits of the next token."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from icdpo_chains.policies.growing_text import GrowingText, decoded
from icdpo_chains.policies.guidance import Guidance, Step
from icdpo_chains.policies.sampling import FinishReason, Sample, SampleRequest
from icdpo_chains.policies.token_choice import ChooserOf, TokenChooser

if TYPE_CHECKING:
    import torch

__all__ = ["RejectsRows", "Row", "decode"]


def decode(
    first_logits: Sequence[torch.Tensor],
    step: Step,
    requests: Sequence[SampleRequest],
    *,
    eos_token_ids: Collection[int],
    tokenizer: Any,
    halving: RejectsRows | None = None,
    guidance: Guidance | None = None,
    keep_finished: bool = False,
    chooser: ChooserOf = TokenChooser,
) -> list[list[Sample]]:
    """Samples continuations of several contexts together; the contexts have been read already.

    Finished rows leave the batch. The recorded log-probabilities are those of the model's unmodified logits.

    Args:
        first_logits: for each request, the logits [vocabulary] that follow its context.
        step: reads one token a row; the rows are those of the first request, then of the second, ...
        requests: the requests.
        eos_token_ids: the ids that end a continuation.
        tokenizer: decodes ids to text.
        halving: rejects rows with low scores.
        guidance: the contrast contexts of the guided requests; `None` without guided requests.
        keep_finished: remove finished rows only when half of the batch has finished, for steps that are fast
            because their shape stays the same.
        chooser: chooses the tokens.

    Returns:
        The samples of each request.

    Raises:
        PolicyError: the model's logits are NaN or infinite.
    """
    import torch

    rows = [Row(tokenizer, request, request.first + i) for request in requests for i in range(request.n)]
    counts = torch.tensor([request.n for request in requests])
    logits = torch.stack([logits.float() for logits in first_logits])
    logits = logits.repeat_interleave(counts.to(logits.device), dim=0)
    choose = chooser(
        [(row.request, row.index) for row in rows], eos_token_ids, logits.shape[-1], logits.device, guidance
    ).choose
    batch = list(range(len(rows)))  # the numbers of the computed rows
    live = {row: row for row in batch}  # unfinished rows and their places in the batch
    position = 0
    while True:
        choice = choose(logits, batch, position, _forced(rows, batch, position))
        tokens = choice.tokens
        if guidance is not None:
            guidance.record(tokens, batch)
        for row, place in live.items():
            token = choice.token_ids[place]
            rows[row].logprobs.append(choice.logprobs[place])
            rows[row].append(token, ended=token in eos_token_ids)
        if halving is not None:
            halving.look(rows, [row for row in live if not rows[row].finished])
        for row in [row for row in live if rows[row].finished]:
            del live[row]
            rows[row].tell_ended()
        if not live:
            break
        kept = None
        if len(live) < len(batch) and not (keep_finished and 2 * len(live) > len(batch)):
            kept = torch.tensor(list(live.values()), device=tokens.device)
            batch, tokens = list(live), tokens[kept]
            live = {row: place for place, row in enumerate(batch)}
        logits = step(tokens, kept).float()
        if guidance is not None:
            guidance.read(tokens, batch)
        position += 1
    if halving is not None:
        halving.read(rows)
    if guidance is not None:
        for row, values in guidance.recorded().items():
            rows[row].contrast_logprobs = values
    samples = iter(row.sample() for row in rows)
    return [list(itertools.islice(samples, request.n)) for request in requests]


def _forced(rows: Sequence[Row], batch: Sequence[int], position: int) -> dict[int, int]:
    """Returns the next tokens that are known, by the rows' places in the batch.

    A row's next token is known if the token was streamed before a restart, or if the token closes a thought.
    """
    known = {place: rows[row].forced[0] for place, row in enumerate(batch) if rows[row].forced}
    return known | {
        place: stream.token_ids[position]
        for place, row in enumerate(batch)
        if (stream := rows[row].request.stream) is not None and len(stream.token_ids) > position
    }


class RejectsRows(Protocol):
    """Removes rows from a batch during decoding."""

    def look(self, rows: Sequence[Row], live: Sequence[int]) -> None:
        """Sets `rejected` on the live rows with low scores.

        Args:
            rows: all rows of the batch.
            live: the numbers of the unfinished rows.
        """
        ...

    def read(self, rows: Sequence[Row]) -> None:
        """Brings the rows' contrast log-probabilities up to date."""
        ...


@dataclass
class Row:
    """One continuation while it grows.

    Attributes:
        tokenizer: decodes its ids.
        request: the request of the continuation.
        index: the continuation's number within the request.
        token_ids: the sampled tokens.
        logprobs: the log-probabilities of the tokens, also of tokens after a stop string.
        contrast_logprobs: the log-probabilities in the contrast context, for the tokens read so far.
        text: the text, cut before a stop string.
        ended: whether an end token or a stop string ended it.
        rejected: whether early rejection has dropped it.
        forced: the tokens that close a thought which is too long.
        thinks: whether the text seems to be in a thought, where no stop string counts.
    """

    tokenizer: Any
    request: SampleRequest
    index: int
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    contrast_logprobs: list[float] = field(default_factory=list)
    text: str | None = None
    ended: bool = False
    rejected: bool = False
    forced: list[int] = field(default_factory=list)
    thinks: bool = False
    _growing: GrowingText | None = None

    @property
    def finished(self) -> bool:
        """Whether no more tokens follow."""
        if self.request.cancelled is not None and self.request.cancelled.is_set():
            return True
        return self.rejected or self.ended or len(self.token_ids) == self.request.sampling.max_new_tokens

    def append(self, token: int, *, ended: bool) -> None:
        """Appends a token and looks for stop strings."""
        self.token_ids.append(token)
        self.ended = ended
        del self.forced[:1]
        if not ended and len(self.token_ids) == self.request.sampling.max_thinking_tokens:
            self._close_thought()
        stop, stream = self.request.sampling.stop, self.request.stream
        if ended or (not stop and stream is None):
            return
        if self._growing is None:
            self._growing = GrowingText(self.tokenizer)
        text = self._growing.of(self.token_ids)
        self._cut_at_stop_string(text)
        if stream is not None and not self.ended:
            stream.grown(self.token_ids, text, stop)

    def tell_ended(self) -> None:
        """Tells the request that one more of its continuations has ended."""
        if self.request.on_ended is not None:
            self.request.on_ended()

    def thought_tokens(self) -> int | None:
        """Returns the number of the thought's tokens; `None` while the thought is unfinished."""
        reader = self.request.sampling.reasoning
        if reader is None:
            return 0
        return reader.thought_tokens(self.token_ids, self.tokenizer, ended=self.finished)

    def _close_thought(self) -> None:
        reader = self.request.sampling.reasoning
        if reader is not None and self.thought_tokens() is None:
            self.forced = reader.closing_ids(self.token_ids, self.tokenizer)

    def _cut_at_stop_string(self, text: str) -> None:
        if not self.request.sampling.stop:
            return
        thought = self.thought_tokens()
        self.thinks = thought is None
        if thought is None:  # a stop string in a thought does not end the answer
            return
        begin = len(self._decoded(thought)) if thought else 0
        cuts = [at for at in (text.find(stop, begin) for stop in self.request.sampling.stop) if at >= 0]
        if not cuts:
            return
        self.text = text[: min(cuts)]
        # Keep the tokens of the text before the stop string, including a token that straddles its start.
        count = len(self.token_ids)
        while count > 0 and self._decoded(count - 1).startswith(self.text):
            count -= 1
        del self.token_ids[count:]
        self.ended = True

    def _decoded(self, count: int) -> str:
        return decoded(self.tokenizer, self.token_ids[:count])

    def sample(self) -> Sample:
        """Returns the finished sample."""
        if self.thinks:  # only the end shows that an opening tag was part of the thought's text
            self._cut_at_stop_string(self._decoded(len(self.token_ids)))
        reason: FinishReason = "rejected" if self.rejected else "stop" if self.ended else "length"
        text = self._decoded(len(self.token_ids)) if self.text is None else self.text
        count = len(self.token_ids)  # without the tokens after a stop string
        contrast = None
        if self.request.finalists is not None or self.request.sampling.guided:
            contrast = tuple(self.contrast_logprobs[:count])
        return Sample(
            tuple(self.token_ids),
            tuple(self.logprobs[:count]),
            text,
            reason,
            contrast if contrast is not None and len(contrast) == count else None,
        )
