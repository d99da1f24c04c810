import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains import Demonstration, DemonstrationStore, FakeEmbedder, read_demonstrations
from icdpo_chains.batch.input import JobRow
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.messages import Message, as_conversation, search_text
from icdpo_chains.tool_calls.tool_call import ToolCall


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


CALL = ToolCall("add", {"a": 1}, "c1")


@pytest.mark.parametrize("arguments", [{"a": 1}, '{"a": 1}'])
def test_calls_and_results_are_read_in_the_form_of_openai(arguments: object) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": arguments}}
    turns = as_conversation(
        [
            {"role": "user", "content": "1?", "name": "Ada"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "1", "tool_call_id": "c1", "name": "add"},
        ]
    )
    assert turns[1:] == (
        Message("assistant", "", (CALL,)),
        Message("tool", "1", tool_call_id="c1", name="add"),
    )
    assert as_conversation([turn.to_dict() for turn in turns]) == turns
    assert len({*turns, *turns}) == 3  # they can be the key of a mapping
    assert "add" in search_text(turns)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"role": "user", "content": "x", "tool_calls": [CALL]}, "only an assistant"),
        ({"role": "assistant", "content": "x", "tool_calls": "add"}, "give a list of calls"),
        ({"role": "assistant", "content": "x", "tool_calls": [{"name": ""}]}, "give the tool's name"),
        ({"role": "assistant", "content": "x", "tool_calls": [{"id": "c"}]}, "contains the tool call"),
        (
            {"role": "assistant", "content": "x", "tool_calls": [{"name": "add", "arguments": "{"}]},
            "are not JSON",
        ),
        (
            {"role": "assistant", "content": "x", "tool_calls": [{"name": "add", "arguments": "[1]"}]},
            "give a mapping",
        ),
    ],
)
def test_bad_calls_say_what_is_wrong(message: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        as_conversation([message, {"role": "user", "content": "a"}])


def test_the_fields_of_a_tool_belong_to_its_result() -> None:
    with pytest.raises(InvalidInputError, match="tool_call_id"):
        Message("user", "x", tool_call_id="c1")


def test_calls_survive_the_store_files_and_jobs(tmp_path: Path) -> None:
    prompt = (
        Message("user", "How is Oslo?"),
        Message("assistant", "", (ToolCall("weather", {"place": "Oslo"}, "c1"),)),
        Message("tool", "Rain.", tool_call_id="c1", name="weather"),
    )
    demonstration = Demonstration(prompt, "It rains.", "No idea.")
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        store.add([demonstration])
        assert store.get([demonstration.id])[0].messages == prompt
        store.export(tmp_path / "x.jsonl")
    (read,) = read_demonstrations(tmp_path / "x.jsonl")
    assert (read.messages, read.id) == (prompt, demonstration.id)
    row = JobRow(0, prompt)
    assert JobRow.from_dict(json.loads(json.dumps(row.to_dict()))) == row
