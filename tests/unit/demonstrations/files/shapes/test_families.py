"""One row of each shape, as published data sets and tools for feedback write it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files import ReadReport, read_demonstrations
from icdpo_chains.demonstrations.files.shapes import SHAPES, read_row
from icdpo_chains.errors import UnknownFormatError

ASK, GOOD, BAD = "Where is my parcel?", "On its way: it left on Monday.", "Dunno."
Rows = Callable[[], "list[dict[str, Any]]"]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def parts(text: str, key: str = "text") -> list[dict[str, Any]]:
    return [{"type": "text", key: text}]


def chatml(*turns: str) -> str:
    roles = ["user", "assistant"] * 2
    return "".join(
        f"<|im_start|>{role}\n{turn}<|im_end|>\n" for role, turn in zip(roles, turns, strict=False)
    )


PAIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "better and worse": ("better and worse", {"prompt": ASK, "better": GOOD, "worse": BAD}),
    "y_w and y_l": ("y_w and y_l", {"prompt": ASK, "y_w": GOOD, "y_l": BAD}),
    "good and bad": ("good and bad", {"prompt": ASK, "good": GOOD, "bad": BAD}),
    "question": ("explicit", {"question": ASK, "chosen": GOOD, "rejected": BAD}),
    "alpaca": ("explicit", {"instruction": ASK, "input": "", "chosen": GOOD, "rejected": BAD}),
    "responses": ("explicit", {"instruction": ASK, "chosen_response": GOOD, "rejected_response": BAD}),
    "camel case": ("explicit", {"Prompt": ASK, "ChosenResponse": GOOD, "RejectedResponse": BAD}),
    "messages": ("explicit", {"messages": [user(ASK)], "chosen": said(GOOD), "rejected": said(BAD)}),
    "messages twice": (
        "explicit",
        {"messages": [user(ASK), said(GOOD)], "chosen": GOOD, "rejected": BAD},
    ),
    "swift": ("messages with", {"messages": [user(ASK), said(GOOD)], "rejected_response": BAD}),
    "swift messages": (
        "messages with",
        {"messages": [user(ASK), said(GOOD)], "rejected_messages": [user(ASK), said(BAD)]},
    ),
    "openai": (
        "preferred output",
        {
            "input": {"messages": [user(ASK)], "tools": []},
            "preferred_output": [said(GOOD)],
            "non_preferred_output": [said(BAD)],
        },
    ),
    "content parts": (
        "explicit",
        {
            "prompt": [{"role": "user", "content": parts(ASK)}],
            "chosen": [{"role": "assistant", "content": parts(GOOD)}],
            "rejected": [{"role": "assistant", "content": parts(BAD, "value")}],
        },
    ),
    "chosen messages": (
        "implicit",
        {"chosen_messages": [user(ASK), said(GOOD)], "rejected_messages": [user(ASK), said(BAD)]},
    ),
    "dialogue beside a prompt": (
        "explicit",
        {"prompt": ASK, "chosen": [user(ASK), said(GOOD)], "rejected": [user(ASK), said(BAD)]},
    ),
    "transcript beside a prompt": (
        "explicit",
        {
            "prompt": ASK,
            "chosen": f"\n\nHuman: {ASK}\n\nAssistant: {GOOD}",
            "rejected": f"\n\nHuman: {ASK}\n\nAssistant: {BAD}",
        },
    ),
    "transcript as a prompt": (
        "explicit",
        {"prompt": f"\n\nHuman: {ASK}\n\nAssistant:", "chosen": f" {GOOD}", "rejected": f" {BAD}"},
    ),
    "chatml": (
        "explicit",
        {
            "prompt": chatml(ASK) + "<|im_start|>assistant\n",
            "chosen": GOOD + "<|im_end|>",
            "rejected": BAD + "<|im_end|>\n",
        },
    ),
    "chatml dialogues": ("implicit", {"chosen": chatml(ASK, GOOD), "rejected": chatml(ASK, BAD)}),
    "mistral": (
        "explicit",
        {"prompt": f"<s>[INST] {ASK} [/INST]", "chosen": f" {GOOD}</s>", "rejected": f" {BAD}</s>"},
    ),
    "llama 3": (
        "explicit",
        {
            "prompt": f"<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{ASK}<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
            "chosen": GOOD + "<|eot_id|>",
            "rejected": BAD,
        },
    ),
    "json in a string": (
        "explicit",
        {
            "prompt": ASK,
            "chosen": json.dumps([user(ASK), said(GOOD)]),
            "rejected": json.dumps([user(ASK), said(BAD)]),
        },
    ),
    "repr in a string": (
        "explicit",
        {"prompt": repr([user(ASK)]), "chosen": repr([said(GOOD)]), "rejected": repr([said(BAD)])},
    ),
    "numpy in a string": (
        "explicit",
        {
            "prompt": ASK,
            "chosen": f"[{user(ASK)}\n {said(GOOD)}]",
            "rejected": f"[{user(ASK)}\n {said(BAD)}]",
        },
    ),
    "deepseek": (
        "explicit",
        {
            "prompt": f"<｜begin▁of▁sentence｜><｜User｜>{ASK}<｜Assistant｜>",
            "chosen": f"{GOOD}<｜end▁of▁sentence｜>",
            "rejected": BAD,
        },
    ),
    "granite": (
        "explicit",
        {
            "prompt": f"<|start_of_role|>user<|end_of_role|>{ASK}<|end_of_text|>\n"
            "<|start_of_role|>assistant<|end_of_role|>",
            "chosen": GOOD,
            "rejected": BAD,
        },
    ),
    "alpaca's template": (
        "explicit",
        {
            "prompt": "Below is an instruction that describes a task. Write a response.\n\n"
            f"### Instruction:\n{ASK}\n\n### Response:\n",
            "chosen": GOOD,
            "rejected": BAD,
        },
    ),
    "vicuna's template": (
        "explicit",
        {
            "prompt": "A chat between a curious user and an artificial intelligence assistant. The assistant "
            f"gives helpful answers. USER: {ASK} ASSISTANT:",
            "chosen": GOOD,
            "rejected": BAD,
        },
    ),
    "transcript of single lines": (
        "implicit",
        {"chosen": f"Human: {ASK}\nAssistant: {GOOD}", "rejected": f"Human: {ASK}\nAssistant: {BAD}"},
    ),
    "control strings in the answers alone": (
        "explicit",
        {"prompt": ASK, "chosen": f"{GOOD}<|im_end|>", "rejected": f"{BAD}<|eot_id|>\n"},
    ),
    "prompt repeated in the answers": (
        "explicit",
        {"prompt": ASK, "chosen": f"{ASK} {GOOD}", "rejected": f"{ASK}\n\n{BAD}"},
    ),
    "gemini": (
        "explicit",
        {"contents": [{"role": "user", "parts": [{"text": ASK}]}], "chosen": GOOD, "rejected": BAD},
    ),
    "langchain": (
        "explicit",
        {
            "messages": [{"type": "human", "data": {"content": ASK}}],
            "chosen": {"type": "ai", "content": GOOD},
            "rejected": [{"id": ["langchain", "AIMessage"], "kwargs": {"type": "ai", "content": BAD}}],
        },
    ),
    "swift's response": ("answer and", {"query": ASK, "response": GOOD, "rejected_response": BAD}),
    "output and rejected": ("answer and", {"instruction": ASK, "output": GOOD, "rejected": BAD}),
    "correct and incorrect": ("mixed names", {"question": ASK, "correct": GOOD, "incorrect": BAD}),
    "accepted and rejected": ("good and bad", {"question": ASK, "accepted": GOOD, "rejected": BAD}),
    "preferred and rejected": ("preferred output", {"prompt": ASK, "preferred": GOOD, "rejected": BAD}),
    "positive and negative": ("good and bad", {"query": ASK, "pos": [GOOD], "neg": [BAD]}),
    "chosen and loser": ("mixed names", {"prompt": ASK, "chosen": GOOD, "loser": BAD}),
    "names in another case": (
        "explicit",
        {"prompt": ASK, "chosen": "A", "rejected": "B", "answers": {"a": GOOD, "b": BAD}},
    ),
    "preferred": ("preferred output", {"prompt": ASK, "preferred": GOOD, "other": BAD}),
    "winner": ("winner and loser", {"prompt": ASK, "winner": GOOD, "loser": BAD}),
    "good": ("good and bad", {"prompt": ASK, "good": GOOD, "bad": BAD}),
    "stack exchange pairs": ("Stack Exchange", {"question": ASK, "response_j": GOOD, "response_k": BAD}),
    "correction": ("correction", {"question": ASK, "answer": BAD, "thumbs": "down", "correction": GOOD}),
    "chosen names a model": (
        "explicit",
        {"prompt": ASK, "chosen": "m-1", "rejected": "m-2", "answers": {"m-1": GOOD, "m-2": BAD}},
    ),
    "chosen names a column": (
        "explicit",
        {"prompt": ASK, "m-1": GOOD, "m-2": BAD, "chosen": "m-1", "rejected": "m-2"},
    ),
    "chosen names an entry": (
        "explicit",
        {
            "prompt": ASK,
            "answers": [{"model": "m-1", "text": GOOD}, {"model": "m-2", "text": BAD}],
            "chosen": "m-1",
            "rejected": "m-2",
        },
    ),
    "chosen is a letter": (
        "two answers and a verdict",
        {"prompt": ASK, "response_a": BAD, "response_b": GOOD, "chosen": "b"},
    ),
    "chosen is a number": (
        "two answers and a verdict",
        {"prompt": ASK, "response_a": GOOD, "response_b": BAD, "chosen": 0},
    ),
    "chosen is a position": (
        "a list of answers",
        {"prompt": ASK, "responses": [BAD, GOOD], "chosen": 1},
    ),
    "pku": (
        "two answers and a verdict",
        {
            "prompt": ASK,
            "response_0": BAD,
            "response_1": GOOD,
            "better_response_id": 1,
            "safer_response_id": 0,
        },
    ),
    "alpacafarm": (
        "two answers and a verdict",
        {"instruction": ASK, "input": "", "output_1": BAD, "output_2": GOOD, "preference": 2},
    ),
    "helpsteer3": (
        "HelpSteer3",
        {"context": [user(ASK)], "response1": BAD, "response2": GOOD, "overall_preference": 2},
    ),
    "shp": ("SHP", {"history": ASK, "human_ref_A": GOOD, "human_ref_B": BAD, "labels": 1, "score_A": 9}),
    "webgpt": (
        "two scores",
        {
            "question": {"full_text": ASK, "id": "1"},
            "answer_0": BAD,
            "answer_1": GOOD,
            "score_0": -1,
            "score_1": 1,
        },
    ),
    "arena": (
        "two answers and a verdict",
        {
            "winner": "model_b",
            "conversation_a": [user(ASK), said(BAD)],
            "conversation_b": [user(ASK), {"role": "assistant", "content": parts(GOOD)}],
        },
    ),
    "lmsys": (
        "flags",
        {
            "prompt": json.dumps([ASK]),
            "response_a": json.dumps([BAD]),
            "response_b": json.dumps([GOOD]),
            "winner_model_a": 0,
            "winner_model_b": 1,
            "winner_tie": 0,
        },
    ),
    "winner names a model": (
        "two answers and a verdict",
        {"prompt": ASK, "model_a": "x", "model_b": "y", "answer_a": BAD, "answer_b": GOOD, "winner": "y"},
    ),
    "nectar": (
        "ranked or rated",
        {
            "prompt": f"\n\nHuman: {ASK}\n\nAssistant: ",
            "answers": [
                {"answer": BAD, "rank": 7.0},
                {"answer": "Hm.", "rank": 2.0},
                {"answer": GOOD, "rank": 1.0},
            ],
        },
    ),
    "ultrafeedback": (
        "ranked or rated",
        {
            "instruction": ASK,
            "completions": [
                {"response": BAD, "overall_score": 2.0},
                {"response": GOOD, "overall_score": 9.0},
            ],
        },
    ),
    "stack exchange": (
        "ranked or rated",
        {
            "question": f"<p>{ASK}</p>",
            "answers": [
                {"text": f"<p>{BAD}</p>", "pm_score": 0},
                {"text": f"<p>{GOOD}</p>\n", "pm_score": 4},
            ],
        },
    ),
    "ranks and scores as text": (
        "ranked or rated",
        {"prompt": ASK, "responses": [{"text": BAD, "rank": "2"}, {"text": GOOD, "rank": "1"}]},
    ),
    "ultrafeedback's annotations": (
        "ranked or rated",
        {
            "instruction": ASK,
            "completions": [
                {
                    "response": BAD,
                    "annotations": {"helpfulness": {"Rating": "1"}, "honesty": {"Rating": "3"}},
                },
                {
                    "response": GOOD,
                    "annotations": {"helpfulness": {"Rating": "5"}, "honesty": {"Rating": "2"}},
                },
            ],
        },
    ),
    "stack exchange's bodies": (
        "ranked or rated",
        {
            "question": f"<p>{ASK}</p>",
            "answers": [{"body": f"<p>{BAD}</p>", "score": 1}, {"body": f"<p>{GOOD}</p>", "score": 9}],
        },
    ),
    "best answer by its text": (
        "a list of answers",
        {"prompt": ASK, "responses": [BAD, GOOD], "best_response": GOOD},
    ),
    "distilabel": ("ranked or rated", {"instruction": ASK, "generations": [BAD, GOOD], "ratings": [1, 5]}),
    "ranks": ("ranked or rated", {"prompt": ASK, "responses": [BAD, GOOD], "ranks": [2, 1]}),
    "open assistant": (
        "Open Assistant",
        {
            "message_tree_id": "1",
            "prompt": {
                "text": ASK,
                "role": "prompter",
                "replies": [
                    {"text": BAD, "role": "assistant", "rank": 1, "replies": []},
                    {"text": GOOD, "role": "assistant", "rank": 0, "replies": []},
                ],
            },
        },
    ),
    "summaries": (
        "summarize_from_feedback",
        {"info": {"post": ASK}, "summaries": [{"text": BAD}, {"text": GOOD}], "choice": 1},
    ),
    "label studio": (
        "Label Studio: two",
        {
            "data": {"prompt": ASK, "answer1": BAD, "answer2": GOOD},
            "annotations": [{"result": [{"type": "pairwise", "value": {"selected": "right"}}]}],
        },
    ),
    "label studio, flat": (
        "two answers and a verdict",
        {"prompt": ASK, "answer1": GOOD, "answer2": BAD, "pw": {"selected": "left"}},
    ),
    "argilla": (
        "Argilla: two",
        {
            "fields": {"prompt": ASK, "response-1": BAD, "response-2": GOOD},
            "responses": {"choose-best": [{"value": "response-2", "user_id": "1"}]},
        },
    ),
    "argilla 1": (
        "Argilla: two",
        {
            "fields": {"prompt": ASK, "response-1": BAD, "response-2": GOOD},
            "responses": [
                {
                    "status": "submitted",
                    "values": {
                        "ranking": {
                            "value": [{"value": "response-1", "rank": 2}, {"value": "response-2", "rank": 1}]
                        }
                    },
                }
            ],
        },
    ),
    "argilla, flat": (
        "two answers and a verdict",
        {
            "prompt": ASK,
            "response-1": BAD,
            "response-2": GOOD,
            "preference": [{"value": "response-2", "status": "submitted"}],
        },
    ),
    "viewer": ("viewer", {"row_idx": 0, "row": {"prompt": ASK, "chosen": GOOD, "rejected": BAD}}),
}


def read(
    path: Path, rows: list[dict[str, Any]], **options: Any
) -> tuple[list[Demonstration], ReadReport, list[Any]]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    refused: list[Any] = []
    report = ReadReport()
    found = list(read_demonstrations(path, on_refused=refused.append, report=report, **options))
    return found, report, refused


@pytest.mark.parametrize("name", PAIRS)
def test_a_row_of_every_shape_is_the_pair(tmp_path: Path, name: str) -> None:
    shape, row = PAIRS[name]
    found, report, refused = read(tmp_path / "x.jsonl", [row])
    assert (found, refused) == ([found[0]], []) if found else pytest.fail(str(refused))
    assert found[0].id == Demonstration(ASK, GOOD, BAD).id
    assert all(shape in seen for seen in report.shapes)


THUMBS: dict[str, tuple[dict[str, Any], str, Any, Any]] = {
    "kto": ({"prompt": ASK}, "completion", {"label": True}, {"label": False}),
    "words": ({"question": ASK, "time": "9:00"}, "answer", {"thumbs": "up"}, {"thumbs": "down"}),
    "signs": ({"input": ASK}, "output", {"feedback": "👍🏽"}, {"feedback": "👎"}),
    "plus and minus": ({"user": ASK}, "assistant", {"vote": 1}, {"vote": -1}),
    "stars": ({"userMessage": ASK}, "botResponse", {"stars": "4"}, {"stars": "1"}),
    "score": ({"query": ASK}, "response", {"score": 0.9}, {"score": 0.2}),
    "helpfulness": ({"prompt": ASK}, "response", {"helpfulness": 3}, {"helpfulness": 1}),
    "beside an empty correction": (
        {"prompt": ASK, "correction": None},
        "response",
        {"thumbs": "up"},
        {"thumbs": "down"},
    ),
    "beside a comment": ({"prompt": ASK, "feedback": "well"}, "response", {"rating": 5}, {"rating": 1}),
    "signs of a chat": ({"prompt": ASK}, "response", {"reaction": ":+1:"}, {"reaction": ":-1:"}),
    "bot": ({"human": ASK}, "bot_message", {"is_liked": True}, {"is_liked": False}),
    "openai's response": (
        {"request": {"messages": [user(ASK)]}},
        "",
        {"response": {"choices": [{"message": said(GOOD)}]}, "feedback": "up"},
        {"response": {"choices": [{"message": said(BAD)}]}, "feedback": "down"},
    ),
    "langsmith with langchain's messages": (
        {"inputs": {"messages": [[{"kwargs": {"type": "human", "content": ASK}}]]}},
        "",
        {"outputs": {"generations": [[{"text": GOOD}]]}, "feedback_stats": {"user": {"avg": 1.0}}},
        {"outputs": {"generations": [[{"text": BAD}]]}, "feedback_stats": {"user": {"avg": 0.0}}},
    ),
    "counts": ({"question": ASK}, "answer", {"upvotes": 3, "downvotes": 1}, {"upvotes": 0, "downvotes": 1}),
    "langsmith": (
        {},
        "",
        {"inputs": {"question": ASK}, "outputs": {"output": GOOD}, "feedback_stats": {"user": {"avg": 1.0}}},
        {"inputs": {"question": ASK}, "outputs": {"output": BAD}, "feedback_stats": {"user": {"avg": 0.0}}},
    ),
    "langfuse": (
        {"input": {"messages": [user(ASK)]}},
        "output",
        {"scores": [{"name": "user-feedback", "value": 1}]},
        {"scores": [{"name": "user-feedback", "value": 0}]},
    ),
    "phoenix": (
        {"attributes.input.value": ASK},
        "attributes.output.value",
        {"annotations": [{"name": "user feedback", "result": {"label": "thumbs-up"}}]},
        {"annotations": [{"name": "user feedback", "result": {"label": "thumbs-down"}}]},
    ),
    "conversation": (
        {},
        "",
        {"messages": [user(ASK), said(GOOD)], "label": True},
        {"messages": [user(ASK), said(BAD)], "label": False},
    ),
    "rated conversation": (
        {},
        "",
        {"messages": [user(ASK), said(GOOD)], "rating": 5},
        {"messages": [user(ASK), said(BAD)], "rating": 1},
    ),
}


@pytest.mark.parametrize("name", THUMBS)
def test_thumbs_in_every_form_are_paired_by_their_prompt(tmp_path: Path, name: str) -> None:
    shared, column, up, down = THUMBS[name]
    rows = [
        {**shared, **({column: text} if column else {}), **label} for text, label in ((GOOD, up), (BAD, down))
    ]
    found, _, refused = read(tmp_path / "x.jsonl", rows)
    assert refused == []
    assert [d.id for d in found] == [Demonstration(ASK, GOOD, BAD).id]
    alone, _, _ = read(tmp_path / "x.jsonl", rows, pair_thumbs=False)
    assert {(d.chosen, d.rejected) for d in alone} == {(GOOD, None), (None, BAD)}
    assert {d.metadata["thumb"] for d in alone} == {"up", "down"}


def test_each_shape_is_reached_by_a_row() -> None:
    # An earlier shape with the same columns would read the rows of a later one.
    rows = [row for _, row in PAIRS.values()]
    rows += [
        {**shared, **({column: GOOD} if column else {}), **up} for shared, column, up, _ in THUMBS.values()
    ]
    rows += tree_rows()[:1]
    reached = {read_row(row).shape.rpartition(": ")[2] for row in rows}
    assert [shape.name for shape in SHAPES if shape.name not in reached] == []


def test_a_lone_up_and_a_lone_down_are_kept(tmp_path: Path) -> None:
    rows = [
        {"prompt": "One?", "completion": GOOD, "label": True},
        {"prompt": "Two?", "completion": BAD, "label": False},
    ]
    found, _, _ = read(tmp_path / "x.jsonl", rows)
    assert [(d.prompt, d.chosen, d.rejected) for d in found] == [("One?", GOOD, None), ("Two?", None, BAD)]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": ASK, "response_a": GOOD, "response_b": BAD, "winner": "tie"},
        {"prompt": ASK, "response_a": GOOD, "response_b": BAD, "winner": "tie (bothbad)"},
        {"context": [user(ASK)], "response1": GOOD, "response2": BAD, "overall_preference": 0},
        {"question": {"full_text": ASK}, "answer_0": GOOD, "answer_1": BAD, "score_0": 0.5, "score_1": 0.5},
        {"prompt": ASK, "answers": [{"answer": GOOD, "rank": 1}, {"answer": BAD, "rank": 1}]},
        {"prompt": ASK, "response": GOOD, "thumbs": None},
        {"prompt": ASK, "response": GOOD, "thumbs": "neutral"},
    ],
)
def test_what_states_no_preference_is_skipped_and_counted(tmp_path: Path, row: dict[str, Any]) -> None:
    pair = {"prompt": ASK, "chosen": GOOD, "rejected": BAD}
    found, report, refused = read(tmp_path / "x.jsonl", [row, pair])
    assert (len(found), refused) == (1, [])
    assert sum(report.skipped.values()) == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": ASK, "response_a": GOOD, "response_b": BAD, "winner": "c"}, "names neither"),
        ({"prompt": ASK, "response_a": GOOD, "response_b": BAD, "winner": "better than b"}, "names neither"),
        ({"prompt": ASK, "chosen": "m-1", "rejected": "m-2", "answers": [GOOD, BAD]}, "no such name"),
        ({"prompt": ASK, "response_a": GOOD, "response_b": BAD, "winner": True}, "names neither"),
        ({"prompt": ASK, "chosen": 0, "rejected": 1}, "no column has them"),
        ({"prompt": ASK, "answers": [GOOD, BAD]}, "no ranks and no scores"),
        ({"prompt": ASK, "response": GOOD, "label": "perhaps"}, "neither up nor down"),
        ({"prompt": ASK, "chosen": [user("Else?"), said(GOOD)], "rejected": BAD}, "lack the prompt"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    found, _, refused = read(tmp_path / "x.jsonl", [row])
    assert found == []
    assert reason in refused[0].reason


@pytest.mark.parametrize(
    "row",
    [
        {"system": "Be kind."},
        {"system_prompt": "Be kind."},
        {"sys": "Be kind."},
        {"system": {"content": "Be kind."}},
        {"context": "Be kind."},
        {"context": ["Be kind."]},
        {"contexts": [{"page_content": "Be kind."}]},
        {"passage": "Be kind."},
        {"documents": ["Be kind."]},
        {"background": "Be kind."},
    ],
    ids=str,
)
@pytest.mark.parametrize("prompt", [ASK, [user(ASK)]])
def test_a_system_or_a_context_column_is_a_system_message(
    tmp_path: Path, row: dict[str, Any], prompt: Any
) -> None:
    found, _, _ = read(tmp_path / "x.jsonl", [{**row, "prompt": prompt, "chosen": GOOD, "rejected": BAD}])
    assert [(m.role, m.content) for m in found[0].messages] == [("system", "Be kind."), ("user", ASK)]
    assert found[0].metadata == {}


@pytest.mark.parametrize(
    "history",
    [
        [["Hi", "Hello"]],
        [{"user": "Hi", "assistant": "Hello"}],
        [user("Hi"), said("Hello")],
        ["Hi", "Hello"],
        "\n\nHuman: Hi\n\nAssistant: Hello",
    ],
)
@pytest.mark.parametrize("column", ["history", "chatHistory", "conversation_history", "previous_turns"])
def test_a_history_comes_before_the_question(tmp_path: Path, column: str, history: Any) -> None:
    found, _, _ = read(
        tmp_path / "x.jsonl", [{column: history, "prompt": ASK, "chosen": GOOD, "rejected": BAD}]
    )
    assert [m.content for m in found[0].messages] == ["Hi", "Hello", ASK]


def test_several_rejected_answers_give_several_pairs(tmp_path: Path) -> None:
    found, _, _ = read(tmp_path / "x.jsonl", [{"prompt": ASK, "chosen": GOOD, "rejected": [BAD, "Hm."]}])
    assert [(d.chosen, d.rejected) for d in found] == [(GOOD, BAD), (GOOD, "Hm.")]


def test_all_pairs_of_a_ranked_list(tmp_path: Path) -> None:
    row = PAIRS["nectar"][1]
    found, _, _ = read(tmp_path / "x.jsonl", [row], all_pairs=True)
    assert {(d.chosen, d.rejected) for d in found} == {(GOOD, "Hm."), (GOOD, BAD), ("Hm.", BAD)}


def test_ratings_between_good_and_bad_are_counted(tmp_path: Path) -> None:
    rows = [{"prompt": f"{i}?", "response": GOOD, "rating": i} for i in range(1, 6)]
    found, report, _ = read(tmp_path / "x.jsonl", rows)
    assert [d.chosen is not None for d in found] == [False, False, True, True]
    assert report.skipped == {"a rating between good and bad": 1}
    by_hand, _, _ = read(tmp_path / "x.jsonl", rows, threshold=3)
    assert [d.chosen is not None for d in by_hand] == [False, False, True, True, True]


def test_entities_are_undone_with_a_note(tmp_path: Path) -> None:
    row = {"prompt": "Is 1 &lt; 2?", "chosen": "Yes&hellip;", "rejected": "<p>No&#33;</p>"}
    found, report, _ = read(tmp_path / "x.jsonl", [row])
    assert (found[0].prompt, found[0].chosen, found[0].rejected) == ("Is 1 < 2?", "Yes…", "<p>No!</p>")
    assert sum(report.notes.values()) == 1


def compared(ends: str, column: str, values: list[Any]) -> list[dict[str, Any]]:
    """Rows with two answers, "first" and "second", and these verdicts."""
    one, other = ends
    return [
        {"prompt": f"{i}?", f"response_{one}": "first", f"response_{other}": "second", column: value}
        for i, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("ends", "column", "values", "better"),
    [
        ("ab", "winner", [0, 1, 0], ["first", "second", "first"]),
        ("ab", "winner", [1, 2, 1], ["first", "second", "first"]),
        ("ab", "chosen", [0], ["first"]),
        ("ab", "preference", [1.0, 2.0], ["first", "second"]),
        ("12", "preference", [1, 2], ["first", "second"]),
        ("12", "preference", ["1"], ["first"]),
        ("01", "better_response_id", [1, 1], ["second", "second"]),
        ("01", "label", ["0", "1"], ["first", "second"]),
    ],
)
def test_numbers_are_read_by_the_names_and_the_whole_file(
    tmp_path: Path, ends: str, column: str, values: list[Any], better: list[str]
) -> None:
    found, _, refused = read(tmp_path / "x.jsonl", compared(ends, column, values))
    assert refused == []
    assert [d.chosen for d in found] == better
    assert all({d.chosen, d.rejected} == {"first", "second"} for d in found)


@pytest.mark.parametrize(
    ("ends", "column", "values"),
    [
        ("ab", "winner", [1]),
        ("ab", "winner", [2]),
        ("ab", "winner", [0, 1, 2]),
        ("ab", "winner", [-1, 1]),
        ("ab", "label", [0, 1]),
        ("ab", "preference", [0, 1, 2]),
        ("ab", "preference", [1, 2, 3]),
        ("12", "preference", [0, 1]),
        ("12", "winner", [0, 1, 2]),
        ("01", "winner", [1, 2]),
        ("12", "label", [0.5, 1]),
    ],
)
def test_numbers_that_could_mean_either_are_refused_with_the_option(
    tmp_path: Path, ends: str, column: str, values: list[Any]
) -> None:
    rows = compared(ends, column, values)
    with pytest.raises(UnknownFormatError, match=r"do not say which of 'response_.*--verdict 0,1"):
        read(tmp_path / "x.jsonl", rows)
    named = (str(max(values)), str(min(values)))
    found, report, refused = read(tmp_path / "x.jsonl", rows, verdict=named)
    expected = ["first" if v == max(values) else "second" for v in values if v in (max(values), min(values))]
    assert [d.chosen for d in found] == expected
    assert len(found) + report.skipped["a tie"] == len(values)
    assert refused == []


def test_named_verdicts_are_words_too(tmp_path: Path) -> None:
    rows = compared("ab", "winner", ["the former", "The latter", "none of them"])
    found, report, _ = read(tmp_path / "x.jsonl", rows, verdict=("the former", "The latter"))
    assert [d.chosen for d in found] == ["first", "second"]
    assert report.skipped["a tie"] == 1


@pytest.mark.parametrize(
    ("column", "values"), [("rating", [1, 2, 3]), ("stars", [1, 2]), ("rating", [1, 7]), ("rating", [5, 20])]
)
def test_a_scale_that_its_greatest_rating_does_not_show_is_refused(
    tmp_path: Path, column: str, values: list[int]
) -> None:
    rows = [{"prompt": f"{i}?", "response": GOOD, column: value} for i, value in enumerate(values)]
    with pytest.raises(UnknownFormatError, match="--threshold"):
        read(tmp_path / "x.jsonl", rows)


def tree_rows() -> list[dict[str, Any]]:
    """Two questions of one conversation as flat rows, in no order; the answers have ranks."""

    def row(own: str, parent: str | None, role: str, text: str, rank: Any = None, **more: Any) -> Any:
        message = {"message_id": own, "parent_id": parent, "role": role, "text": text, "rank": rank}
        return {**message, "lang": "en", "deleted": False, **more}

    return [
        row("g", "q", "assistant", GOOD, 0.0),
        row("q", None, "prompter", ASK),
        row("b", "q", "assistant", BAD, 2.0),
        row("m", "q", "assistant", "Hm.", "1"),
        row("x", "q", "assistant", "Buy pills!", None),
        row("d", "q", "assistant", "Gone.", 9, deleted=True),
        row("q2", "g", "prompter", "And when?"),
        row("g2", "q2", "assistant", "Today.", 0),
        row("b2", "q2", "assistant", "Later.", 1),
        row("o", "lost", "prompter", "And?"),
        row("o1", "o", "assistant", "One.", 0),
        row("o2", "o", "assistant", "Two.", 1),
    ]


def test_messages_of_trees_one_a_row(tmp_path: Path) -> None:
    found, report, refused = read(tmp_path / "x.jsonl", tree_rows())
    assert [([m.content for m in d.messages], d.chosen, d.rejected) for d in found] == [
        ([ASK], GOOD, BAD),
        ([ASK, GOOD, "And when?"], "Today.", "Later."),
    ]
    assert found[0].metadata["lang"] == "en"
    assert report.skipped == {"a deleted message": 1}
    assert [(row.line, "lost" in row.reason) for row in refused] == [(10, True)]
    all_pairs, _, _ = read(tmp_path / "x.jsonl", tree_rows(), all_pairs=True)
    assert [(d.chosen, d.rejected) for d in all_pairs][:3] == [(GOOD, "Hm."), (GOOD, BAD), ("Hm.", BAD)]


def test_messages_that_follow_from_themselves_are_refused(tmp_path: Path) -> None:
    rows = [{**row, "parent_id": "b2"} if row["message_id"] == "q" else row for row in tree_rows()[:9]]
    found, _, refused = read(tmp_path / "x.jsonl", rows)
    assert found == []
    assert len(refused) == 2


def test_feedback_of_several_names_is_the_users_or_refused(tmp_path: Path) -> None:
    """The first name decided once, such as the latency of a run."""

    def run(answer: str, **scores: float) -> dict[str, Any]:
        stats = {name: {"n": 1, "avg": score} for name, score in scores.items()}
        return {"inputs": {"question": ASK}, "outputs": {"output": answer}, "feedback_stats": stats}

    rows = [run(GOOD, conciseness=0.0, user_score=1.0), run(BAD, conciseness=1.0, user_score=0.0)]
    found, _, _ = read(tmp_path / "x.jsonl", rows)
    assert [(d.chosen, d.rejected) for d in found] == [(GOOD, BAD)]
    with pytest.raises(UnknownFormatError, match=r"several names, 'conciseness', 'correctness'.*--columns"):
        read(tmp_path / "x.jsonl", [run(GOOD, conciseness=0.0, correctness=1.0)])


@pytest.mark.parametrize(
    ("positions", "best"),
    [([0, 1], ["first", "second"]), ([1, 2], ["first", "second"]), ([1], ["second"])],
)
def test_positions_count_from_0_unless_one_shows_otherwise(
    tmp_path: Path, positions: list[int], best: list[str]
) -> None:
    rows = [
        {"prompt": f"{i}?", "responses": ["first", "second"], "chosen": position}
        for i, position in enumerate(positions)
    ]
    found, _, _ = read(tmp_path / "x.jsonl", rows)
    assert [d.chosen for d in found] == best
    with pytest.raises(UnknownFormatError, match="count all from 0"):
        read(tmp_path / "x.jsonl", [{**rows[0], "chosen": position} for position in (0, 2)])


@pytest.mark.parametrize("column", ["thumb", "rating", "label", "score"])
@pytest.mark.parametrize("empty", ["nan", "NaN", "inf", "-inf"])
def test_a_text_that_is_no_finite_number_is_no_verdict(tmp_path: Path, column: str, empty: str) -> None:
    file = tmp_path / "votes.csv"
    file.write_text(f"prompt,answer,{column}\nq1,good,1\nq2,bad,0\nq3,unrated,{empty}\n")
    found = [(item.chosen, item.rejected) for item in read_demonstrations(file, threshold=1)]
    assert found == [("good", None), (None, "bad")]


@pytest.mark.parametrize(
    "row",
    [
        *({"answer": "a", column: 10**400} for column in ("thumb", "rating", "label", "score")),
        {"responses": ["a", "b"], "scores": [10**400, 1]},
        {"responses": [{"text": "a", "rank": 10**400}, {"text": "b", "rank": 1}]},
        {
            "response_a": "a",
            "response_b": "b",
            "winner_model_a": 10**400,
            "winner_model_b": 0,
            "winner_tie": 0,
        },
    ],
    ids=["thumb", "rating", "label", "score", "scores", "ranks", "winner"],
)
def test_a_number_too_large_for_a_float_costs_one_row(tmp_path: Path, row: dict[str, Any]) -> None:
    file = tmp_path / "rows.jsonl"
    good = {"prompt": "question", "chosen": "good", "rejected": "bad"}
    file.write_text("\n".join(map(json.dumps, [good, {"prompt": "other question", **row}, good])))
    found = [(item.chosen, item.rejected) for item in read_demonstrations(file, threshold=1)]
    assert found == [("good", "bad")] * 2
