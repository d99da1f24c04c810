"""One row of a preference file becomes a demonstration, or a refusal that says why."""

from __future__ import annotations

import math
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files.shapes import check_columns, read_row
from icdpo_chains.errors import DemonstrationError, UnknownFormatError

HI, GOOD, BAD = "How are you?", "Well, thank you. And you?", "Go away."
USER = {"role": "user", "content": HI}
DIALOGUE = [
    {"role": "system", "content": "Be kind."},
    USER,
    {"role": "assistant", "content": "Well."},
    {"role": "user", "content": "Really?"},
]


def demonstration_from_row(row: object) -> Demonstration:
    (outcome,) = read_row(row).outcomes
    assert isinstance(outcome, Demonstration)
    return outcome


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def gpt(text: str) -> dict[str, str]:
    return {"from": "gpt", "value": text}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": HI, "chosen": GOOD, "rejected": BAD},
        {"prompt": [USER], "chosen": said(GOOD), "rejected": said(BAD)},
        {"prompt": [USER], "chosen": said(GOOD)[0], "rejected": BAD},
        {"prompt": HI, "chosen": [USER, *said(GOOD)], "rejected": [USER, *said(BAD)]},
        {"prompt": None, "chosen": [USER, *said(GOOD)], "rejected": [USER, *said(BAD)]},
        {"chosen": [USER, *said(GOOD)], "rejected": [USER, *said(BAD)]},
        {
            "chosen": f"\n\nHuman: {HI}\n\nAssistant: {GOOD}",
            "rejected": f"\n\nHuman: {HI}\n\nAssistant: {BAD}",
        },
        {"chosen": f"Human: {HI}\n\nAssistant: {GOOD}\n", "rejected": f"\n\nHuman:{HI} \n\nAssistant:{BAD}"},
        {"conversations": [{"from": "human", "value": HI}], "chosen": gpt(GOOD), "rejected": gpt(BAD)},
        {"conversations": [USER], "chosen": GOOD, "rejected": [gpt(BAD)], "prompt": None},
        {
            "conversations": [{"from": "Human", "value": HI}],
            "chosen": gpt(GOOD),
            "rejected": gpt(BAD),
            "system": "",
        },
    ],
    ids=lambda row: "-".join(f"{name}:{type(value).__name__}" for name, value in row.items()),
)
def test_every_shape_gives_the_same_demonstration(row: dict[str, Any]) -> None:
    assert demonstration_from_row(row).id == Demonstration(HI, GOOD, BAD).id


@pytest.mark.parametrize("rejected", [{}, {"rejected": None}])
@pytest.mark.parametrize("prompt", [{"prompt": HI}, {"conversations": [{"from": "human", "value": HI}]}])
def test_the_rejected_answer_may_be_missing_where_the_prompt_stands_apart(prompt: Any, rejected: Any) -> None:
    assert demonstration_from_row({**prompt, "chosen": GOOD, **rejected}).rejected is None


def test_several_turns_and_the_system_turn_are_kept() -> None:
    row = {"chosen": [*DIALOGUE, *said(GOOD)], "rejected": [*DIALOGUE, *said(BAD)]}
    assert [message.to_dict() for message in demonstration_from_row(row).messages] == DIALOGUE


def test_sharegpt_roles_and_its_system_column() -> None:
    turns = ["human", "function_call", "observation", "gpt", "human"]
    row = {
        "conversations": [{"from": role, "value": f"{i} {role}"} for i, role in enumerate(turns)],
        "chosen": gpt(GOOD),
        "rejected": gpt(BAD),
        "system": "Be kind.",
        "tools": "[]",
    }
    demonstration = demonstration_from_row(row)
    roles = [message.role for message in demonstration.messages]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert demonstration.metadata == {"tools": "[]"}


def test_a_system_turn_in_the_conversation_counts_before_the_system_column() -> None:
    turns = [{"from": "system", "value": "Be kind."}, {"from": "human", "value": HI}]
    demonstration = demonstration_from_row({"conversations": turns, "chosen": GOOD, "system": "Be curt."})
    assert [message.content for message in demonstration.messages] == ["Be kind.", HI]
    assert demonstration.metadata == {"system": "Be curt."}


def test_a_transcript_of_several_turns_is_split_at_its_markers_only() -> None:
    before = "\n\nHuman: Who says Human: or\nAssistant: here?\n\nAssistant:  I do. \n\nHuman:\nWhy?"
    row = {"chosen": before + "\n\nAssistant: " + GOOD, "rejected": before + "\n\nAssistant:" + BAD}
    demonstration = demonstration_from_row(row)
    assert [message.content for message in demonstration.messages] == [
        "Who says Human: or\nAssistant: here?",
        "I do.",
        "Why?",
    ]
    assert (demonstration.chosen, demonstration.rejected) == (GOOD, BAD)


@pytest.mark.parametrize("prompt", [HI, [USER], f"\n\nHuman: {HI}\n\nAssistant:"])
@pytest.mark.parametrize("row", [{"rejected": BAD}, {"rejected": BAD, "chosen": None}])
def test_a_rejected_answer_may_stand_alone(prompt: Any, row: dict[str, Any]) -> None:
    assert demonstration_from_row({"prompt": prompt, **row}).id == Demonstration(HI, None, BAD).id


def test_a_blank_rejected_answer_is_none() -> None:
    assert demonstration_from_row({"prompt": HI, "chosen": GOOD, "rejected": " "}).rejected is None


@pytest.mark.parametrize(
    "text", [" leading", "trailing \n\n", "\x00{x} {{ {% raw %} <|im_end|>", "🦊\u2028é"]
)
def test_text_is_kept_exactly(text: str) -> None:
    demonstration = demonstration_from_row({"prompt": text, "chosen": said(text), "rejected": text + "."})
    assert (demonstration.prompt, demonstration.chosen) == (text, text)


def test_other_columns_become_metadata_as_far_as_json_holds_them() -> None:
    row = {
        "prompt": HI,
        "chosen": GOOD,
        "score_chosen": 9.5,
        "rank": 1,
        "checked": True,
        "source": "ours",
        "price": Decimal("0.5"),
        "day": date(2024, 2, 29),
        "at": datetime(2024, 2, 29, 12, tzinfo=timezone.utc),
        "margin": math.nan,
        "none": None,
        "messages": [USER],
        "raw": b"\x00",
        "metadata": {"rank": 2, "deep": {"list": [1, None, Decimal("2.5")]}},
    }
    assert demonstration_from_row(row).metadata == {
        "score_chosen": 9.5,
        "rank": 2,
        "checked": True,
        "source": "ours",
        "price": 0.5,
        "day": "2024-02-29",
        "at": "2024-02-29T12:00:00+00:00",
        "deep": {"list": [1, None, 2.5]},
    }


def test_metadata_that_is_no_object_is_kept_under_its_name() -> None:
    assert demonstration_from_row({"prompt": HI, "chosen": GOOD, "metadata": "m"}).metadata == {
        "metadata": "m"
    }


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([1], "the row is a list"),
        (None, "the row is a NoneType"),
        ({"prompt": HI, "chosen": GOOD, "rejected": GOOD}, "the same"),
        ({"prompt": HI, "chosen": " ", "rejected": BAD}, "chosen answer is blank"),
        ({"prompt": HI, "chosen": "", "rejected": BAD}, "chosen answer is blank"),
        ({"prompt": HI, "chosen": GOOD, "rejected": GOOD + " "}, "differ only in white space"),
        ({"prompt": HI, "chosen": GOOD, "rejected": math.nan}, "rejected must be a text"),
        ({"prompt": HI, "chosen": None, "rejected": None}, "no value to use in 'chosen', 'rejected'"),
        ({"prompt": " \n", "chosen": GOOD}, "question is blank"),
        ({"prompt": 7, "chosen": GOOD}, "prompt must be a text or a list of messages, not int"),
        ({"prompt": HI, "chosen": 7}, "names its answers by 7"),
        ({"prompt": [], "chosen": GOOD}, "prompt is an empty list"),
        ({"prompt": [*DIALOGUE, *said("x")], "chosen": GOOD}, "ends with an assistant turn"),
        ({"prompt": [USER], "chosen": [*said("a"), *said("b")]}, "chosen answer has 2 messages"),
        ({"prompt": HI, "chosen": [{"role": "user", "content": "?"}]}, "must be the assistant's"),
        ({"prompt": [{"role": "king", "content": HI}], "chosen": GOOD}, "'king' is unknown"),
        ({"prompt": [{"from": "king", "value": HI}], "chosen": GOOD}, "'king' is unknown"),
        ({"prompt": [{"role": "user"}], "chosen": GOOD}, "message 1 of prompt needs"),
        ({"prompt": [{"role": "user", "content": None}], "chosen": GOOD}, "'content' (NoneType)"),
        ({"prompt": ["x", "y"], "chosen": GOOD}, "message 1 of prompt must be an object, not str"),
        ({"prompt": HI, "chosen": "\ud800"}, "lone surrogate"),
        ({"prompt": HI, "chosen": GOOD, "source": "\udfff"}, "metadata"),
        ({"prompt": HI, "chosen": GOOD, "metadata": {"raw": b""}}, "metadata"),
        ({"chosen": [USER, *said(GOOD)], "rejected": None}, "no value to use in 'rejected'"),
        ({"chosen": [USER, *said(GOOD)], "rejected": [USER]}, "rejected answer is a user turn"),
        ({"chosen": said(GOOD), "rejected": said(BAD)}, "question is blank"),
        ({"chosen": [*DIALOGUE, *said(GOOD)], "rejected": [USER, *said(BAD)]}, "differ from turn 1 on"),
        (
            {
                "chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
                "rejected": "\n\nHuman: a\n\nAssistant: b",
            },
            "(4 turns) and the rejected one (2 turns) differ from turn 2 on",
        ),
        (
            {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: A\n\nAssistant: c"},
            "differ from turn 1 on",
        ),
        (
            {"chosen": "\n\nHuman: a\n\nAssistant:", "rejected": "\n\nHuman: a\n\nAssistant: b"},
            "chosen answer is blank",
        ),
        (
            {"chosen": "\n\nHuman: a", "rejected": "\n\nHuman: a\n\nAssistant: b"},
            "chosen dialogue ends with a user",
        ),
    ],
)
def test_what_can_not_be_used_is_refused_with_the_reason(row: Any, reason: str) -> None:
    with pytest.raises(DemonstrationError) as caught:
        demonstration_from_row(row)
    assert reason in str(caught.value)
    assert not isinstance(caught.value, UnknownFormatError)


def test_nesting_beyond_the_stack_is_a_refusal() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(DemonstrationError, match="nested too deeply"):
        demonstration_from_row({"prompt": HI, "chosen": GOOD, "metadata": {"deep": deep}})


@pytest.mark.parametrize(
    "columns", [[], ["prompt"], ["chosen"], ["question", "answer"], ["prompt", "output", "time"]]
)
def test_unknown_columns_are_named_next_to_the_known_shapes(columns: list[str]) -> None:
    with pytest.raises(UnknownFormatError) as caught:
        check_columns(columns)
    message = str(caught.value)
    assert all(repr(column) in message for column in columns)
    assert "prompt + chosen" in message
    assert "conversations + chosen" in message


def test_texts_whose_prompt_can_not_be_told_are_no_shape_at_all() -> None:
    with pytest.raises(UnknownFormatError, match="can't be separated from the answer"):
        read_row({"chosen": f"{HI} {GOOD}", "rejected": f"{HI} {BAD}"})


def test_the_nearest_shape_says_what_to_rename() -> None:
    with pytest.raises(UnknownFormatError, match=r"--columns chosen=choosen,rejected=rejekted"):
        check_columns(["prompt", "choosen", "rejekted"])


@pytest.mark.parametrize(
    ("columns", "nearest"),
    [
        (["prompt", "answer", "time"], "thumbs"),
        (["question", "reply_by_bot", "output"], "thumbs"),
        (["question", "left", "right"], "two answers and a verdict"),
        (["question", "north", "south"], "explicit prompt (TRL)"),
        (["Frage", "Antwort", "Daumen"], "explicit prompt (TRL)"),
    ],
    ids=["answer", "output", "two-answers", "two-unknown", "all-unknown"],
)
def test_columns_without_a_near_name_are_named_as_pairs_or_as_thumbs(
    columns: list[str], nearest: str
) -> None:
    with pytest.raises(UnknownFormatError) as caught:
        check_columns(columns)
    assert f"The nearest is {nearest!r}" in str(caught.value)
    assert "chosen=...,rejected=... (pairs) or prompt=...,answer=...,label=... (thumbs)" in str(caught.value)


def test_the_columns_of_the_advice_on_thumbs_are_read() -> None:
    row = {"prompt": "Hi?", "answer": "Hello.", "label": "up"}
    assert read_row(row).shape == "thumbs"
