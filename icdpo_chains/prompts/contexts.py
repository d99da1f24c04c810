"""`Contexts`: the contexts of one question as token ids, within the model's limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from icdpo_chains.errors import ContextOverflowError, MissingRejectedError
from icdpo_chains.foundation.concurrency import check_cancelled
from icdpo_chains.messages import Message
from icdpo_chains.prompts.formats import PromptFormat, Shown
from icdpo_chains.reasoning.tags import ReasoningTags
from icdpo_chains.reasoning.thoughts import answer_alone

__all__ = ["FROM_DOCUMENTS", "Contexts", "Instructions", "ShownDemonstration", "budget_of", "build_contexts"]

FROM_DOCUMENTS = "Answer from the following documents. If they do not hold the answer, say so."
"""The system text before the documents of a RAG chain, used by the integrations."""

_CHARACTERS_PER_TOKEN = 8
"""More than the usual 3 to 5, so that the first estimate rarely drops a demonstration that fits."""


class ShownDemonstration(Protocol):
    """A demonstration for prompts: a conversation and its answers, one of which may be missing."""

    @property
    def messages(self) -> tuple[Message, ...]: ...  # noqa: D102
    @property
    def chosen(self) -> str | None: ...  # noqa: D102
    @property
    def rejected(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True)
class Instructions:
    """The instructions before the demonstrations.

    Attributes:
        chosen: the instruction before the chosen answers.
        rejected: the opposite instruction, before the rejected answers.
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
        chosen: d+ and x, the sampling context.
        rejected: d- and x under the opposite instruction; `None` if the scorer does not need it.
        base: only x.
        used: the demonstrations in the contexts, best first (in a context, the best is last, next to x). A
            demonstration is only in the contexts for which it has an answer.
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


def budget_of(max_context: int | None, new_tokens: int) -> int | None:
    """Returns the most tokens of a context.

    Args:
        max_context: the most tokens that the model can read; `None` for no limit.
        new_tokens: the tokens of an answer.

    Raises:
        ContextOverflowError: the answer leaves no room for a context.
    """
    budget = None if max_context is None else max_context - new_tokens
    if budget is not None and budget < 1:
        raise ContextOverflowError(
            f"an answer of {new_tokens} tokens leaves no room in the {max_context} tokens that the model can "
            "read: ask for fewer new tokens, or shorten the response"
        )
    return budget


def build_contexts(
    prompt_format: PromptFormat,
    conversation: Sequence[Message],
    demonstrations: Sequence[ShownDemonstration],
    instructions: Instructions,
    *,
    with_rejected: bool,
    budget: int | None = None,
    reasoning_tags: Sequence[ReasoningTags] = (),
) -> Contexts:
    """Builds the contexts of one question; drops whole demonstrations, farthest first, until they fit.

    The context of chosen answers shows the demonstrations with a chosen answer, the context of rejected
    answers those with a rejected answer, and both show pairs.

    Args:
        prompt_format: the layout of texts.
        conversation: x.
        demonstrations: best first.
        instructions: the instructions before chosen and before rejected answers.
        with_rejected: build the context of rejected answers.
        budget: the most tokens of a context; `None` for no limit.
        reasoning_tags: tags of thoughts to leave out, beside the known ones.

    Raises:
        MissingRejectedError: `with_rejected`, and no demonstration has a rejected answer.
        ContextOverflowError: the conversation does not fit even without demonstrations.
    """
    if with_rejected and demonstrations and all(shown.rejected is None for shown in demonstrations):
        raise MissingRejectedError(
            'against="rejected" compares with rejected answers, and none of the demonstrations for this '
            "question has one: "
            'use against="base", or add rejected answers (thumbs down, or pairs)'
        )

    def render(shown: Sequence[Shown], instruction: str | None) -> tuple[int, ...]:
        check_cancelled()
        return tuple(prompt_format.context(conversation, shown, instruction))

    conversation = _without_thoughts(conversation, reasoning_tags)
    base = render([], None)

    def lay_out(count: int) -> Contexts:
        used = tuple(demonstrations[:count])
        nearest_last = used[::-1]
        answers = _answers(((shown.messages, shown.chosen) for shown in nearest_last), reasoning_tags)
        chosen = render(answers, instructions.chosen)
        rejected = None
        if with_rejected:
            answers = _answers(((shown.messages, shown.rejected) for shown in nearest_last), reasoning_tags)
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
    # Trying every count from the top takes quadratic time. Each demonstration makes a
    # context longer, so a bisection between `least` and `most` finds the largest count that fits.
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
        # At most twice the count that fits: a context far above the budget is never rendered.
        count = min((least + most + 1) // 2, 2 * least)
    if fitting is not None:
        return fitting
    raise ContextOverflowError(
        f"the conversation takes {longest} tokens without any demonstration, and {budget} are left for it: "
        "shorten it, ask for fewer new tokens, or use a model with a longer context"
    )


def _answers(
    given: Iterable[tuple[Sequence[Message], str | None]], tags: Sequence[ReasoningTags]
) -> list[Shown]:
    """Returns the prompts with an answer on one side, and that answer."""
    return [
        (_without_thoughts(messages, tags), answer_alone(answer, tags))
        for messages, answer in given
        if answer is not None
    ]


def _without_thoughts(turns: Sequence[Message], tags: Sequence[ReasoningTags]) -> tuple[Message, ...]:
    """Returns the turns without the assistant's thoughts: models are trained on such histories."""
    return tuple(
        replace(turn, content=answer_alone(turn.content, tags)) if turn.role == "assistant" else turn
        for turn in turns
    )


def _plausible_count(demonstrations: Sequence[ShownDemonstration], budget: int) -> int:
    """Returns the number of demonstrations, at least one, that may fit by their number of characters."""
    room = _CHARACTERS_PER_TOKEN * budget
    for count, shown in enumerate(demonstrations):
        room -= max(len(shown.chosen or ""), len(shown.rejected or ""))
        room -= sum(len(message.text) for message in shown.messages)
        if room < 0:
            return max(1, count)
    return len(demonstrations)
