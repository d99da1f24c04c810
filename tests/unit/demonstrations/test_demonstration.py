import copy
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.errors import DemonstrationError
from icdpo_chains.messages import Message

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(TEXT, st.none() | TEXT, st.none() | TEXT, st.dictionaries(TEXT, JSON_VALUES, max_size=3))
def test_it_survives_json(
    prompt: str, chosen: str | None, rejected: str | None, metadata: dict[str, Any]
) -> None:
    if chosen == rejected:
        chosen, rejected = chosen or "good", None
    demonstration = Demonstration(prompt, chosen, rejected, metadata)
    again = Demonstration.from_dict(json.loads(json.dumps(demonstration.to_dict())))
    assert again == demonstration
    assert again.id == demonstration.id
    assert (again.prompt, again.chosen, again.rejected, again.metadata) == (
        prompt,
        chosen,
        rejected,
        metadata,
    )


def test_the_id_is_of_the_content_alone() -> None:
    one = Demonstration("Hi", "Hello!", "What?", {"source": "a"})
    same = Demonstration([{"role": "user", "content": "Hi"}], "Hello!", "What?")
    assert one.id == same.id
    assert len(one.id) == 32
    others = [
        Demonstration("Hi", "Hello!"),
        Demonstration("Hi", "What?", "Hello!"),
        Demonstration([Message("system", "x"), Message("user", "Hi")], "Hello!", "What?"),
        Demonstration("Hi ", "Hello!", "What?"),
    ]
    assert len({demonstration.id for demonstration in [one, *others]}) == 5


def test_ids_are_those_of_earlier_versions() -> None:
    """Stores and exports hold them: a change would add everything a second time."""
    assert Demonstration("Hi", "Hello!", "What?").id == "dcf3ca82987ce17a11f0d1b769053ec3"
    assert Demonstration("Hi", "Hello!").id == "31c09b6a41675b40f6a6a1b8998575e3"


def test_one_of_the_answers_may_be_missing() -> None:
    up, down = Demonstration("Hi", "Hello!"), Demonstration("Hi", rejected="What?")
    pair = Demonstration("Hi", "Hello!", "What?")
    assert [item.is_pair for item in (up, down, pair)] == [False, False, True]
    assert len({up.id, down.id, Demonstration("Hi", "What?").id}) == 3
    assert down.to_dict() == {"prompt": "Hi", "rejected": "What?"}
    assert Demonstration.from_dict(down.to_dict()) == down
    with pytest.raises(DemonstrationError, match="neither a chosen nor a rejected answer"):
        Demonstration("Hi")


def nested(depth: int) -> dict[str, Any]:
    value: Any = "x"
    for level in range(depth):
        value = {"a": value} if level % 2 else [value]
    return {"a": value}


def test_metadata_are_nested_no_deeper_than_can_be_read_back() -> None:
    deepest = Demonstration("q", "good", metadata=nested(63))
    assert Demonstration.from_dict(json.loads(json.dumps(deepest.to_dict()))).metadata == nested(63)
    circle: list[Any] = []
    circle.append(circle)
    for metadata in (nested(64), nested(400), nested(100_000), {"a": circle}):
        with pytest.raises(DemonstrationError, match="more than 64 levels deep: flatten them"):
            Demonstration("q", "good", metadata=metadata)


def test_it_is_frozen_hashable_and_keeps_no_hold_of_its_arguments() -> None:
    metadata = {"tags": ["a"]}
    turns = [{"role": "user", "content": "Hi"}]
    demonstration = Demonstration(turns, "Hello!", metadata=metadata)
    metadata["tags"].append("b")
    turns[0]["content"] = "changed"
    assert demonstration.metadata == {"tags": ["a"]}
    assert demonstration.messages == (Message("user", "Hi"),)
    assert len({demonstration, copy.deepcopy(demonstration)}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        demonstration.chosen = "x"  # type: ignore[misc]


def test_the_text_that_retrieval_searches_is_the_whole_conversation_less_the_system() -> None:
    turns = [
        Message("system", "s"),
        Message("user", "a"),
        Message("assistant", "b"),
        Message("user", "c"),
    ]
    assert Demonstration(turns, "d").prompt_text == "a\nb\nc"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("", "good"), "question is blank"),
        (("q", " \n"), "chosen answer is blank"),
        (("q", "good", ""), "pass None"),
        (("q", "same", "same"), "states no preference"),
        (("q\ud800", "good"), "surrogate"),
        (("q", "good\udfff"), "surrogate"),
        (("q", "good", "bad\ud800"), "surrogate"),
        (([Message("user", "q"), Message("assistant", "a")], "good"), "nothing to answer"),
        (("q", "good", "bad", {"x": float("nan")}), "JSON values"),
        (("q", "good", "bad", {"x": object()}), "JSON values"),
        (("q", "good", "bad", {1: "x"}), "names are strings"),
        (("q", "good", "bad", {"x": "\ud800"}), "JSON values"),
    ],
)
def test_what_can_not_be_used_is_refused_with_the_reason(arguments: tuple[Any, ...], says: str) -> None:
    with pytest.raises(DemonstrationError, match=says):
        Demonstration(*arguments)


def test_a_row_without_its_fields_is_refused() -> None:
    with pytest.raises(DemonstrationError, match="no chosen and no rejected; it has: prompt"):
        Demonstration.from_dict({"prompt": "q"})
    with pytest.raises(DemonstrationError, match="must be a string"):
        Demonstration.from_dict({"prompt": "q", "chosen": 7})
