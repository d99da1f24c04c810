import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.errors import ContextOverflowError, MissingRejectedError
from icdpo_chains.foundation.concurrency import cancellation
from icdpo_chains.messages import Message
from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.prompts.contexts import Contexts, Instructions, build_contexts
from icdpo_chains.prompts.formats import ChatFormat, PlainFormat, Shown
from icdpo_chains.reasoning.tags import KNOWN_TAGS, ReasoningTags

NEAR = Demonstration("near?", "near good", "near bad")
FAR = Demonstration("far?", "far good", "far bad")
QUESTION = (Message("user", "question?"),)


def build(demonstrations=(NEAR, FAR), budget=None, with_rejected=True) -> Contexts:
    return build_contexts(
        ChatFormat(byte_tokenizer()),
        QUESTION,
        demonstrations,
        Instructions("do good", "do bad"),
        with_rejected=with_rejected,
        budget=budget,
    )


def test_the_three_contexts_say_what_they_should() -> None:
    contexts = build()
    chosen, rejected, base = (
        byte_tokenizer().decode(ids) for ids in (contexts.chosen, contexts.rejected, contexts.base)
    )
    assert (
        chosen.index("do good")
        < chosen.index("far good")
        < chosen.index("near good")
        < chosen.index("question?")
    )
    assert (
        rejected.index("do bad")
        < rejected.index("far bad")
        < rejected.index("near bad")
        < rejected.index("question?")
    )
    assert "bad" not in chosen
    assert "good" not in rejected
    assert base == "<|im_start|>user\nquestion?<|im_end|>\n<|im_start|>assistant\n"
    assert contexts.used == (NEAR, FAR)


def test_whole_demonstrations_are_dropped_farthest_first() -> None:
    full = max(len(build().chosen), len(build().rejected or ()))
    assert build(budget=full).dropped == ()
    contexts = build(budget=full - 1)
    assert (contexts.used, contexts.dropped) == ((NEAR,), (FAR,))
    assert contexts == build([NEAR]).__class__(**{**vars(build([NEAR])), "dropped": (FAR,)})
    none_fits = build(budget=len(build([]).rejected or ()) + 5)
    assert (none_fits.used, none_fits.dropped) == ((), (NEAR, FAR))


def test_the_conversation_alone_must_fit() -> None:
    with pytest.raises(ContextOverflowError, match=r"takes \d+ tokens.*10 are left"):
        build(budget=10)


def test_rejected_answers_that_are_missing_altogether_are_an_error() -> None:
    bare = Demonstration("bare?", "good")
    with pytest.raises(
        MissingRejectedError, match=r"none of the demonstrations for this question has one.*against=\"base\""
    ):
        build([bare, Demonstration("again?", "good")])
    assert build([bare], with_rejected=False).rejected is None


def test_a_demonstration_stands_where_it_has_an_answer() -> None:
    up, down = Demonstration("up?", "up good"), Demonstration("down?", rejected="down bad")
    contexts = build([up, NEAR, down])
    assert contexts.used == (up, NEAR, down)
    alone = [
        build([up, NEAR], with_rejected=False).chosen,
        build([NEAR, down]).rejected,
    ]
    assert [contexts.chosen, contexts.rejected] == alone
    texts = [byte_tokenizer().decode(ids) for ids in (contexts.chosen, contexts.rejected or ())]
    assert ["up?" in text for text in texts] == [True, False]
    assert ["down?" in text for text in texts] == [False, True]


class CountingFormat(ChatFormat):
    """Counts the tokens that it lays out."""

    tokens = 0

    def context(
        self, conversation: Sequence[Message], shown: Sequence[Shown], instruction: str | None
    ) -> list[int]:
        ids = super().context(conversation, shown, instruction)
        self.tokens += len(ids)
        return ids


def work_of(count: int, budget: int = 4000) -> int:
    """The tokens laid out for a question with this many demonstrations."""
    counting = CountingFormat(byte_tokenizer())
    many = [Demonstration(f"question {i}?", "good " * 20, "bad " * 20) for i in range(count)]
    build_contexts(counting, QUESTION, many, Instructions(), with_rejected=True, budget=budget)
    return counting.tokens


def test_work_follows_the_budget_and_not_the_number_of_demonstrations() -> None:
    assert work_of(3000) == work_of(1000) < 60 * 4000  # from the top down: above 500,000,000 tokens


def test_a_conversation_that_does_not_fit_is_refused_before_demonstrations_are_laid_out() -> None:
    counting = CountingFormat(byte_tokenizer())
    with pytest.raises(ContextOverflowError):
        build_contexts(counting, QUESTION, [NEAR] * 500, Instructions(), with_rejected=True, budget=10)
    assert counting.tokens < 1000


def one_by_one(prompt_format, demonstrations, budget: int) -> int | None:
    """The slow twin: the largest count that fits, looked for from the top down."""
    for count in range(len(demonstrations), -1, -1):
        contexts = build_contexts(
            prompt_format, QUESTION, demonstrations[:count], Instructions("+", "-"), with_rejected=True
        )
        if max(len(contexts.chosen), len(contexts.rejected or ()), len(contexts.base)) <= budget:
            return count
    return None


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 200), st.integers(1, 2000)), max_size=12, unique=True),
    budget=st.integers(1, 6000),
    chat=st.booleans(),
)
def test_as_many_demonstrations_are_kept_as_one_by_one(
    lengths: list[tuple[int, int]], budget: int, chat: bool
) -> None:
    prompt_format = ChatFormat(byte_tokenizer()) if chat else PlainFormat(byte_tokenizer(chat=False))
    shown = [Demonstration("q" * long, "c" * long, "r" * other) for long, other in lengths]
    count = one_by_one(prompt_format, shown, budget)
    options = {"with_rejected": True, "budget": budget}
    if count is None:
        with pytest.raises(ContextOverflowError):
            build_contexts(prompt_format, QUESTION, shown, Instructions("+", "-"), **options)
    else:
        contexts = build_contexts(prompt_format, QUESTION, shown, Instructions("+", "-"), **options)
        assert (contexts.used, contexts.dropped) == (tuple(shown[:count]), tuple(shown[count:]))


def test_laying_out_ends_when_its_caller_has_gone() -> None:
    gone = threading.Event()
    gone.set()
    token = cancellation.set(gone)
    try:
        with pytest.raises(CancelledError):
            build()
    finally:
        cancellation.reset(token)


OWN = ReasoningTags("[muse]", "[/muse]")


@pytest.mark.parametrize("tags", [*KNOWN_TAGS, OWN], ids=lambda tags: tags.opening.strip())
def test_no_context_shows_a_thought(tags: ReasoningTags) -> None:
    def thinking(answer: str) -> str:
        return f"{tags.opening}A secret plan.{tags.closing}\n\n{answer}"

    history = (Message("user", "hello?"), Message("assistant", thinking("hello.")), *QUESTION)
    shown = Demonstration(history, thinking("good"), thinking("bad"))
    contexts = build_contexts(
        PlainFormat(byte_tokenizer()),
        history,
        [shown],
        Instructions(),
        with_rejected=True,
        reasoning_tags=[OWN],
    )
    for ids in (contexts.chosen, contexts.rejected, contexts.base):
        text = byte_tokenizer().decode(ids)
        assert "hello." in text
        assert "secret" not in text
