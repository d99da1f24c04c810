"""What Chroma keeps of a demonstration gives back exactly that demonstration."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.demonstrations.chroma.records import (
    HAS_REJECTED,
    embedding_text,
    from_record,
    prompt_text,
    same_metadata,
    to_record,
)
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.errors import StoreError
from icdpo_chains.messages import Message

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab{$", max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
TURNS = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant", "tool"]), TEXT), max_size=3
).map(lambda turns: (*turns, Message("user", "?")))
DEMONSTRATIONS = st.builds(
    Demonstration,
    TEXT | TURNS,
    TEXT.map("good {}".format),
    st.none() | TEXT.map("bad {}".format),
    st.dictionaries(
        st.sampled_from(["", "a", "icdpo:x", "chroma:document", "$and", "#id", "ü\0"]), JSON_VALUES
    ),
)


@given(DEMONSTRATIONS)
def test_a_record_gives_back_the_demonstration(demonstration: Demonstration) -> None:
    record = to_record(demonstration)
    assert from_record(record) == demonstration
    assert from_record(record).id == demonstration.id
    assert prompt_text(record) == demonstration.prompt_text
    assert same_metadata(record, demonstration)


@given(DEMONSTRATIONS)
def test_a_record_holds_what_chroma_takes(demonstration: Demonstration) -> None:
    record = to_record(demonstration)
    assert record[HAS_REJECTED] is (demonstration.rejected is not None)
    for name, value in record.items():
        assert name
        assert not name.startswith(("#", "$", "chroma:"))
        assert isinstance(value, (str, int, float))
        assert not isinstance(value, int) or -(2**63) < value < 2**63


def test_scalar_metadata_stand_beside_to_be_filtered_by() -> None:
    metadata: dict[str, Any] = {
        "topic": "law",
        "row": 3,
        "share": 0.5,
        "checked": True,
        "none": None,
        "tags": [],
    }
    record = to_record(Demonstration("q", "good", metadata=metadata))
    assert {name: record[name] for name in ("topic", "row", "share", "checked")} == {
        "topic": "law",
        "row": 3,
        "share": 0.5,
        "checked": True,
    }
    assert "none" not in record
    assert "tags" not in record


def test_metadata_can_not_take_the_place_of_ours() -> None:
    demonstration = Demonstration("q", "good", metadata={HAS_REJECTED: True, "icdpo:demonstration": "{}"})
    record = to_record(demonstration)
    assert record[HAS_REJECTED] is False
    assert from_record(record).metadata == demonstration.metadata


@pytest.mark.parametrize(("before", "after"), [(1, True), (1, 1.0), (0.0, -0.0), ({"a": 1}, {"a": 1.0})])
def test_metadata_that_only_python_calls_equal_are_not_the_same(before: Any, after: Any) -> None:
    record = to_record(Demonstration("q", "good", metadata={"x": before}))
    assert not same_metadata(record, Demonstration("q", "good", metadata={"x": after}))


def test_the_order_of_metadata_does_not_count() -> None:
    record = to_record(Demonstration("q", "good", metadata={"a": 1, "b": 2}))
    assert same_metadata(record, Demonstration("q", "good", metadata={"b": 2, "a": 1}))


@pytest.mark.parametrize("record", [None, {}, {"text": "somebody else's"}])
def test_a_record_of_somebody_else_is_refused(record: dict[str, Any] | None) -> None:
    with pytest.raises(StoreError, match=r"no demonstration.*another program wrote it"):
        from_record(record)


def test_the_end_of_a_conversation_is_embedded() -> None:
    turns = [Message("user", "x" * 5000), Message("assistant", "yes"), Message("user", "and now?")]
    text = embedding_text(turns)
    assert len(text) == 1000
    assert text.endswith("x\nyes\nand now?")
