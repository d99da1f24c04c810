"""`Contexts`: the token ids that one question is answered and scored with, cut to what the model can read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from icdpo_chains.concurrency import check_cancelled
from icdpo_chains.errors import ContextOverflowError, MissingRejectedError
from icdpo_chains.messages import Message
from icdpo_chains.prompts.formats import PromptFormat, Shown
from icdpo_chains.reasoning.thoughts import answer_alone

__all__ = ["FROM_DOCUMENTS", "Contexts", "Instructions", "ShownDemonstration", "build_contexts"]

FROM_DOCUMENTS = "Answer from the following documents. If they do not hold the answer, say so."
"""What the integrations put before the documents of a RAG chain, in a system message of the conversation."""

_CHARACTERS_PER_TOKEN = 8
"""More than the usual 3 to 5, so that the first guess rarely drops a demonstration that fits."""


class ShownDemonstration(Protocol):
    """A demonstration as prompts see it: a conversation and its answers, of which one may be missing."""

    @property
    def messages(self) -> tuple[Message, ...]: ...  # noqa: D102
    @property
    def chosen(self) -> str | None: ...  # noqa: D102
    @property
    def rejected(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True)
class Instructions:
    """What the model is told before it sees the demonstrations.

    Attributes:
        chosen: stands before the chosen answers.
        rejected: its opposite, stands before the rejected answers.
    """

    chosen: str = (
        "You are a kind, honest and careful assistant. Every answer in this conversation is helpful, true, "
        "polite and safe."
    )
    rejected: str = (
        "You are an unkind, dishonest and careless assistant. Every answer in this conversation is "
        "unhelpful, false, rude or unsafe."
    )


@dataclass(frozen=True)
class Contexts:
    """The contexts of one question, as token ids.

    Attributes:
        chosen: d+ and x, what candidates are sampled from.
        rejected: d- and x under the opposite instruction; `None` where the scorer does not need it.
        base: x alone.
        used: the demonstrations in the contexts, best first (the best stands last, next to x). A
            demonstration stands only in the contexts that show an answer it has.
        dropped: the demonstrations that did not fit, best first.
    """

    chosen: tuple[int, ...]
    rejected: tuple[int, ...] | None
    base: tuple[int, ...]
    used: tuple[ShownDemonstration, ...]
    dropped: tuple[ShownDemonstration, ...]

    @property
    def contrast(self) -> tuple[int, ...]:
        """The other context of the score."""
        return self.base if self.rejected is None else self.rejected


def build_contexts(
    prompt_format: PromptFormat,
    conversation: Sequence[Message],
    demonstrations: Sequence[ShownDemonstration],
    instructions: Instructions,
    *,
    with_rejected: bool,
    budget: int | None = None,
) -> Contexts:
    """Lays out the contexts of one question, dropping whole demonstrations, farthest first, until they fit.

    The context of chosen answers shows the demonstrations that have a chosen answer, and the context of
    rejected answers those that have a rejected answer: pairs stand in both.

    Args:
        prompt_format: how texts are laid out.
        conversation: x.
        demonstrations: best first.
        instructions: what stands before chosen and before rejected answers.
        with_rejected: whether to build the context of rejected answers.
        budget: the most tokens that a context may have; `None` for no limit.

    Raises:
        MissingRejectedError: `with_rejected`, and no demonstration has a rejected answer.
        ContextOverflowError: the conversation does not fit even without demonstrations.
    """
    if with_rejected and demonstrations and all(shown.rejected is None for shown in demonstrations):
        raise MissingRejectedError(
            'against="rejected" compares with rejected answers, and none of the '
            f"{len(demonstrations)} demonstrations has one: "
            'use against="base", or add rejected answers (thumbs down, or pairs)'
        )

    def render(shown: Sequence[Shown], instruction: str | None) -> tuple[int, ...]:
        check_cancelled()
        return tuple(prompt_format.context(conversation, shown, instruction))

    conversation = _without_thoughts(conversation)
    base = render([], None)

    def lay_out(count: int) -> Contexts:
        used = tuple(demonstrations[:count])
        nearest_last = used[::-1]
        answers = _answers((shown.messages, shown.chosen) for shown in nearest_last)
        chosen = render(answers, instructions.chosen)
        rejected = None
        if with_rejected:
            answers = _answers((shown.messages, shown.rejected) for shown in nearest_last)
            rejected = render(answers, instructions.rejected)
        return Contexts(
            chosen=chosen,
            rejected=rejected,
            base=base,
            used=used,
            dropped=tuple(demonstrations[count:]),
        )

    if budget is None:
        return lay_out(len(demonstrations))
    # Laying out every count from the top costs a time quadratic in the demonstrations. Each of them makes a
    # context longer, so that a bisection between `least` and `most` finds the largest count that fits.
    least, most = 0, len(demonstrations) if len(base) <= budget else 0
    fitting: Contexts | None = None
    count = min(most, _plausible_count(demonstrations, budget))
    while True:
        contexts = lay_out(count)
        longest = max(len(base), len(contexts.chosen), len(contexts.rejected or ()))
        if longest <= budget:
            fitting, least = contexts, count + 1
        else:
            most = count - 1
        if least > most:
            break
        # No more than twice the count that fits: a context far above the budget is never rendered.
        count = min((least + most + 1) // 2, 2 * least)
    if fitting is not None:
        return fitting
    raise ContextOverflowError(
        f"the conversation takes {longest} tokens without any demonstration, and {budget} are left for it: "
        "shorten it, ask for fewer new tokens, or use a model with a longer context"
    )


def _answers(given: Iterable[tuple[Sequence[Message], str | None]]) -> list[Shown]:
    """The prompts that have an answer on one side, each with the answer."""
    return [
        (_without_thoughts(messages), answer_alone(answer))
        for messages, answer in given
        if answer is not None
    ]


def _without_thoughts(turns: Sequence[Message]) -> tuple[Message, ...]:
    """The turns with the assistant's answers alone: models are trained on histories without thoughts."""
    return tuple(
        replace(turn, content=answer_alone(turn.content)) if turn.role == "assistant" else turn
        for turn in turns
    )


def _plausible_count(demonstrations: Sequence[ShownDemonstration], budget: int) -> int:
    """Returns how many demonstrations, at least one, may fit by their number of characters."""
    room = _CHARACTERS_PER_TOKEN * budget
    for count, shown in enumerate(demonstrations):
        room -= max(len(shown.chosen or ""), len(shown.rejected or ""))
        room -= sum(len(message.content) for message in shown.messages)
        if room < 0:
            return max(1, count)
    return len(demonstrations)
