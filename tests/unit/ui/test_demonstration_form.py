"""A demonstration in a form, and back."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.errors import DemonstrationError
from icdpo_chains.ui.demonstration_form import DemonstrationForm

words = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
turns = st.lists(words, min_size=1, max_size=3).map(
    lambda texts: [
        turn
        for text in texts
        for turn in ({"role": "user", "content": text}, {"role": "assistant", "content": "yes"})
    ][:-1]
)


@st.composite
def demonstrations(draw: st.DrawFn) -> Demonstration:
    chosen, rejected = draw(st.one_of(st.none(), words)), draw(st.one_of(st.none(), words))
    if chosen == rejected:
        chosen, rejected = "fine", None
    metadata = draw(st.dictionaries(st.sampled_from(["a", "b"]), st.one_of(words, st.integers(), st.none())))
    return Demonstration(draw(st.one_of(words, turns)), chosen, rejected, metadata)


def as_browser(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@given(demonstrations())
def test_a_form_that_is_not_edited_is_the_same_demonstration(item: Demonstration) -> None:
    form = DemonstrationForm.of(item)
    sent = DemonstrationForm(
        form.kind, *(as_browser(text) for text in (form.prompt, form.chosen, form.rejected, form.metadata))
    )
    back = sent.demonstration(item)
    assert back.id == item.id
    assert back.metadata == item.metadata


def test_an_edit_changes_one_text_alone() -> None:
    item = Demonstration("one\r\ntwo", "good\r\nanswer", "bad", {"by": "ann"})
    edited = replace(DemonstrationForm.of(item), rejected="worse").demonstration(item)
    assert (edited.prompt, edited.chosen, edited.rejected) == ("one\r\ntwo", "good\r\nanswer", "worse")


def test_a_new_demonstration() -> None:
    form = DemonstrationForm("question", "Which hobby?", "Drawing.", " \n ", '{"source": "me"}')
    assert form.demonstration() == Demonstration("Which hobby?", "Drawing.", None, {"source": "me"})


def test_a_question_that_looks_like_messages_is_a_question() -> None:
    text = json.dumps([{"role": "user", "content": "Hello"}])
    assert DemonstrationForm("question", text, "yes").demonstration().prompt == text


def test_messages() -> None:
    text = json.dumps([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}])
    item = DemonstrationForm("messages", text, "yes").demonstration()
    assert [message.role for message in item.messages] == ["system", "user"]
    assert DemonstrationForm.of(item).kind == "messages"


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"prompt": " "}, "blank"),
        ({"chosen": "", "rejected": ""}, "neither"),
        ({"rejected": "yes"}, "same"),
        ({"metadata": "[1]"}, "object"),
        ({"metadata": "{"}, "the metadata is not JSON"),
        ({"metadata": '{"a": NaN}'}, "JSON values"),
        ({"metadata": '{"a": ' * 100_000}, "JSON|deep"),
        ({"kind": "messages"}, "the prompt is not JSON"),
        ({"kind": "messages", "prompt": "{}"}, "list"),
        ({"kind": "messages", "prompt": "[]"}, "user turn"),
        ({"kind": "messages", "prompt": "[3]"}, "mapping"),
        ({"kind": "messages", "prompt": "[" * 100_000}, "JSON|deep"),
        ({"kind": "messages", "prompt": '[{"role": "user"}]'}, "content"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)
def test_what_is_unusable_is_said(changed: dict[str, Any], part: str) -> None:
    form = replace(DemonstrationForm("question", "Hello", "yes"), **changed)
    with pytest.raises(DemonstrationError, match=part):
        form.demonstration()


def test_invisible_characters_are_noticed() -> None:
    assert DemonstrationForm("question", "a\u202eb", "yes").invisible
    assert not DemonstrationForm("question", "a\n\tb", "ja, ünïcode 日本").invisible
