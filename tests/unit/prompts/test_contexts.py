import pytest

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.errors import ContextOverflowError, MissingRejectedError
from icdpo_chains.messages import Message
from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.prompts.contexts import Contexts, Instructions, build_contexts
from icdpo_chains.prompts.formats import ChatFormat

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


def test_a_missing_rejected_answer_is_named() -> None:
    bare = Demonstration("bare?", "good")
    with pytest.raises(MissingRejectedError, match=rf"{bare.id}.*against=\"base\""):
        build([NEAR, bare])
    assert build([bare], with_rejected=False).rejected is None
