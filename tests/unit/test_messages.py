import pytest
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.messages import Message, as_conversation


@given(st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip))
def test_a_string_becomes_one_user_turn_unchanged(text: str) -> None:
    assert as_conversation(text) == (Message("user", text),)


def test_mappings_and_messages_may_be_mixed() -> None:
    turns = as_conversation([{"role": "system", "content": "Be brief."}, Message("user", "Hi")])
    assert [turn.to_dict() for turn in turns] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]


@pytest.mark.parametrize("blank", ["", " ", "\n\t", [], [{"role": "user", "content": " "}]])
def test_a_blank_question_is_refused(blank: object) -> None:
    with pytest.raises(InvalidInputError, match="blank"):
        as_conversation(blank)  # type: ignore[arg-type]


def test_a_lone_surrogate_is_named_with_its_place() -> None:
    with pytest.raises(InvalidInputError, match=r"lone surrogate '\\ud800' at position 2"):
        as_conversation("ab\ud800")


def test_a_prompt_that_ends_with_an_answer_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="nothing to answer"):
        as_conversation([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])


@pytest.mark.parametrize(
    ("prompt", "error", "says"),
    [
        (None, TypeError, "not NoneType"),
        (7, TypeError, "not int"),
        (b"bytes", TypeError, "not bytes"),
        ([7], TypeError, "message 0"),
        ([{"role": "user"}], InvalidInputError, "no 'content'"),
        ([{"role": "wizard", "content": "x"}], InvalidInputError, "'wizard' is unknown"),
        ([{"role": "user", "content": 3}], TypeError, "must be a string"),
    ],
)
def test_bad_prompts_say_what_is_wrong(prompt: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        as_conversation(prompt)  # type: ignore[arg-type]
