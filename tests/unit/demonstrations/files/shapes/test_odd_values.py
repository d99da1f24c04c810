"""A row with an odd value in any place is read or refused; no other exception leaves the reader."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.demonstrations.files.shapes import read_row
from icdpo_chains.errors import DemonstrationError, UnknownFormatError

ASKED, SAID = {"role": "user", "content": "How?"}, {"role": "assistant", "content": "So."}
ROWS: list[dict[str, Any]] = [
    {"prompt": "How?", "chosen": "So.", "rejected": "No.", "system": "Be kind."},
    {"prompt": [ASKED], "completion": [SAID], "label": True},
    {"messages": [ASKED, SAID], "rating": "★★★★☆", "comment": "short"},
    {"prompt": "How?", "response_0": "So.", "response_1": "No.", "better_response_id": 0},
    {"prompt": "How?", "answer_0": "So.", "answer_1": "No.", "score_0": 1.0, "score_1": -1.0},
    {"prompt": "How?", "answers": [{"text": "So.", "rank": 1}, {"text": "No.", "rank": 2}]},
    {
        "data": {"rating": 1, "model_id": "m"},
        "meta": {"message_id": "b"},
        "snapshot": {
            "chat": {
                "chat": {
                    "history": {
                        "messages": {
                            "a": {"role": "user", "content": "How?", "parentId": None},
                            "b": {"role": "assistant", "content": "So.", "parentId": "a"},
                        }
                    }
                }
            }
        },
    },
    {"conversation": [["How?", "So."]], "index": [0, 1], "value": "So.", "flag": "Like"},
    {
        "messages": [
            ASKED,
            {
                "role": "assistant",
                "candidates": [
                    {"content": [{"text": "So."}], "preferenceLabel": "preferred"},
                    {"content": [{"text": "No."}], "preferenceLabel": "non-preferred"},
                ],
            },
        ]
    },
    {"input": {"messages": [ASKED]}, "output": SAID, "scores": [{"name": "thumb", "value": 1}]},
]
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["role", "content", "value", "text", "rank"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield (*above, key)
        yield from places(value[key], (*above, key))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: next(iter(row)) + f"-{len(row)}")
def test_the_row_is_read(row: dict[str, Any]) -> None:
    assert read_row(row).outcomes


@given(st.sampled_from([(row, place) for row in ROWS for place in places(row)]), ODD)
def test_an_odd_value_is_read_or_refused(chosen: tuple[dict[str, Any], tuple[Any, ...]], odd: Any) -> None:
    row, (*above, last) = copy.deepcopy(chosen[0]), chosen[1]
    holder: Any = row
    for key in above:
        holder = holder[key]
    holder[last] = odd
    with contextlib.suppress(DemonstrationError, UnknownFormatError):
        read_row(row)


@pytest.mark.parametrize("index", [float("inf"), 10**400, [0, float("nan")], {"a": 1}])
def test_a_position_that_is_no_number_is_refused(index: Any) -> None:
    row = {"conversation": [["How?", "So."]], "index": index, "value": "So.", "flag": "Like"}
    with pytest.raises(DemonstrationError, match="no message at the position"):
        read_row(row)


@pytest.mark.parametrize("name", [["b"], {"b": 1}, 3])
def test_a_name_of_a_message_that_is_no_text_is_refused(name: Any) -> None:
    with pytest.raises(DemonstrationError, match="lacks the rated message"):
        read_row({**ROWS[6], "meta": {"message_id": name}})
