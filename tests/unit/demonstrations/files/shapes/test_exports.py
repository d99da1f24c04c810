"""Exports of tools: the opinion of people counts, and the whole conversation before the answer is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files import read_demonstrations
from icdpo_chains.demonstrations.files.shapes.exports import EXPORTS, unwrapped
from icdpo_chains.demonstrations.files.shapes.row import Row
from icdpo_chains.errors import UnknownFormatError

ASK, GOOD, BAD = "Where is my parcel?", "On its way: it left on Monday.", "Dunno."
SYSTEM, EARLIER = ("system", "Be brief."), (("user", "Hi"), ("assistant", "Hello"))


def message(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def chat(*turns: tuple[str, str]) -> list[dict[str, Any]]:
    return [message(role, content) for role, content in turns]


def completion(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message("assistant", text)}]}


def emoji(up: bool) -> dict[str, Any]:
    return {"feedback_type": "wandb.reaction.1", "payload": {"emoji": "👍" if up else "👎"}}


def assessment(up: bool, kind: str = "HUMAN", name: str = "rating") -> dict[str, Any]:
    return {"assessment_name": name, "source": {"source_type": kind}, "feedback": {"value": up}}


def web_ui(answer: str, up: bool, *, as_list: bool = False) -> dict[str, Any]:
    turns = chat(*EARLIER, ("user", ASK), ("assistant", answer), ("user", "Thanks!"), ("assistant", "Bye."))
    messages: Any = [{**turn, "id": str(i)} for i, turn in enumerate(turns)]
    if not as_list:
        messages = {
            m["id"]: {**m, "parentId": str(int(m["id"]) - 1) if m["id"] != "0" else None} for m in messages
        }
    return {
        "type": "rating",
        "data": {"rating": 1 if up else -1, "model_id": "m", "reason": "accurate", "details": {"rating": 9}},
        "meta": {"message_id": "3", "arena": False},
        "snapshot": {"chat": {"title": "t", "chat": {"history": {"messages": messages, "currentId": "5"}}}},
    }


def gradio(answer: str, up: bool) -> dict[str, Any]:
    turns = chat(*EARLIER, ("user", ASK), ("assistant", answer), ("user", "Thanks!"))
    flag = "Like" if up else "Dislike"
    return {"conversation": json.dumps(turns), "index": "3", "value": answer, "flag": flag, "username": ""}


def trace(answer: str, up: bool, **inputs: Any) -> dict[str, Any]:
    return {"inputs": inputs, "outputs": {"answer": answer}, "feedback_stats": {"user": {"avg": float(up)}}}


# By name: how a tool writes an answer and its thumb, and the turns before the question.
THUMBS: dict[str, tuple[Any, tuple[tuple[str, str], ...]]] = {
    "langsmith, history": (
        lambda a, up: trace(a, up, question=ASK, chat_history=chat(*EARLIER)),
        EARLIER,
    ),
    "langsmith, context": (lambda a, up: trace(a, up, context="Be brief.", question=ASK), (SYSTEM,)),
    "langsmith, system": (
        lambda a, up: trace(a, up, system="Be brief.", messages=chat(("user", ASK))),
        (SYSTEM,),
    ),
    "langsmith, messages before a question": (
        lambda a, up: trace(a, up, messages=chat(*EARLIER), question=ASK),
        EARLIER,
    ),
    "langsmith, messages with the question": (
        lambda a, up: trace(a, up, messages=chat(*EARLIER, ("user", ASK)), question=ASK),
        EARLIER,
    ),
    "langfuse, category": (
        lambda a, up: {
            "input": ASK,
            "output": a,
            "scores": [{"name": "user", "value": 0, "stringValue": "good" if up else "bad"}],
        },
        (),
    ),
    "langfuse, lists": (
        lambda a, up: {"input": ASK, "output": a, "scores": json.dumps({"user": [int(up)]})},
        (),
    ),
    "langfuse, arguments": (
        lambda a, up: {
            "input": {"args": [], "kwargs": {"question": ASK}},
            "output": a,
            "scores": [{"name": "x", "value": int(up)}],
        },
        (),
    ),
    "several users": (
        lambda a, up: {
            "input": ASK,
            "output": a,
            "scores": [{"name": "user", "value": v} for v in ((1, 1, 0) if up else (0, 1, 0))],
        },
        (),
    ),
    "a comment beside the score": (
        lambda a, up: {"input": ASK, "output": a, "scores": {"user_note": "Well!", "user_score": int(up)}},
        (),
    ),
    "opik": (
        lambda a, up: {
            "input": {"question": ASK},
            "output": {"answer": a},
            "feedback_scores": [{"name": "user_feedback", "value": float(up)}],
        },
        (),
    ),
    "mlflow": (
        lambda a, up: {
            "request": json.dumps({"messages": chat(SYSTEM, ("user", ASK))}),
            "response": json.dumps(completion(a)),
            "assessments": [assessment(not up, "LLM_JUDGE", "safe"), assessment(up)],
        },
        (SYSTEM,),
    ),
    "weave": (
        lambda a, up: {
            "inputs": {"model": "m", "messages": chat(SYSTEM, ("user", ASK))},
            "output": completion(a),
            "summary": {"weave": {"feedback": [emoji(up)]}},
        },
        (SYSTEM,),
    ),
    "helicone": (
        lambda a, up: {
            "request_body": {"messages": chat(SYSTEM, ("user", ASK))},
            "response_body": completion(a),
            "feedback_rating": up,
        },
        (SYSTEM,),
    ),
    "phoenix, columns": (
        lambda a, up: {
            "attributes.input.value": ASK,
            "attributes.output.value": a,
            "annotation_name": "thumbs",
            "result.label": "thumbs-up" if up else "thumbs-down",
            "result.score": str(int(up)),
        },
        (),
    ),
    "phoenix, a judge beside a person": (
        lambda a, up: {
            "attributes": {"input": {"value": ASK}, "output": {"value": a}},
            "annotations": [
                {"name": "toxic", "annotator_kind": "LLM", "result": {"score": 0.0}},
                {"name": "quality", "annotator_kind": "HUMAN", "result": {"label": "good" if up else "bad"}},
            ],
        },
        (),
    ),
    "open webui": (web_ui, EARLIER),
    "open webui, list": (lambda a, up: web_ui(a, up, as_list=True), EARLIER),
    "gradio chat": (gradio, EARLIER),
    "gradio pairs": (
        lambda a, up: {
            "conversation": [["Hi", "Hello"], [ASK, a]],
            "index": [1, 1],
            "value": a,
            "flag": "Like" if up else "Dislike",
        },
        EARLIER,
    ),
    "gradio": (lambda a, up: {"Prompt": ASK, "Output": a, "flag": "👍" if up else "👎"}, ()),
    "argilla, rating": (
        lambda a, up: {
            "fields": {"prompt": ASK, "response": a},
            "responses": {"quality": [{"value": 5 if up else 1, "status": "submitted"}]},
        },
        (),
    ),
    "argilla table, rating": (
        lambda a, up: {
            "prompt": ASK,
            "response": a,
            "rating.responses": [5 if up else 1, 3],
            "rating.responses.users": ["1", "2"],
            "rating.responses.status": ["submitted", "discarded"],
            "rating.suggestion": None,
        },
        (),
    ),
    "label studio, rating": (
        lambda a, up: {
            "data": {"prompt": ASK, "response": a},
            "annotations": [{"result": [{"from_name": "r", "value": {"rating": 5 if up else 1}}]}],
        },
        (),
    ),
    "system beside a conversation": (
        lambda a, up: {
            "conversations": chat(("user", ASK), ("assistant", a)),
            "label": up,
            "system": "Be brief.",
        },
        (SYSTEM,),
    ),
    "stars": (lambda a, up: {"question": ASK, "answer": a, "stars": "★★★★★" if up else "★☆☆☆☆"}, ()),
    "emoji stars": (lambda a, up: {"question": ASK, "answer": a, "rating": "⭐⭐⭐⭐" if up else "⭐"}, ()),
    "out of five": (lambda a, up: {"question": ASK, "answer": a, "rating": "5/5" if up else "1/5"}, ()),
    "words of stars": (
        lambda a, up: {"question": ASK, "answer": a, "rating": "4 stars" if up else "1 star"},
        (),
    ),
    "faces": (
        lambda a, up: {
            "question": ASK,
            "answer": a,
            "feedback": {"type": "faces", "score": "😀" if up else "🙁"},
        },
        (),
    ),
    "0 and 100": (lambda a, up: {"prompt": ASK, "response": a, "score": 100 if up else 0}, ()),
    "a topic as the label": (
        lambda a, up: {"prompt": ASK, "response": a, "label": "parcels", "thumbs": "up" if up else "down"},
        (),
    ),
    "the question's sentiment": (
        lambda a, up: {"prompt": ASK, "response": a, "sentiment": "negative", "liked": up},
        (),
    ),
    "an object of a boolean": (
        lambda a, up: {"user": "u-17", "message": ASK, "response": a, "feedback": {"thumbs_up": up}},
        (),
    ),
    "an instruction beside the question": (
        lambda a, up: {
            "request_body": {"instructions": "Be brief.", "input": ASK},
            "response_body": {"output": [message("assistant", a)]},
            "feedback": {"rating": up},
        },
        (SYSTEM,),
    ),
    "two flags": (lambda a, up: {"prompt": ASK, "response": a, "accepted": up, "rejected": not up}, ()),
    "a word and its sign": (
        lambda a, up: {
            "Question": ASK,
            "Answer": a,
            "Thumbs Up/Down": "Thumbs Up 👍" if up else "Thumbs Down 👎",
        },
        (),
    ),
    "words of a scale": (
        lambda a, up: {"question": ASK, "answer": a, "satisfaction": "Excellent" if up else "Very poor"},
        (),
    ),
    "cohere": (
        lambda a, up: {
            "message": ASK,
            "chat_history": [
                {"role": "USER", "message": "Hi"},
                {"role": "CHATBOT", "message": "Hello"},
            ],
            "preamble": "Be brief.",
            "response": a,
            "label": up,
        },
        (SYSTEM, *EARLIER),
    ),
    "documents": (
        lambda a, up: {
            "question": ASK,
            "source_documents": [{"page_content": "Be brief."}],
            "answer": a,
            "feedback": "up" if up else "down",
        },
        (SYSTEM,),
    ),
    "a question beside its messages": (
        lambda a, up: {
            "input": ASK,
            "output": a,
            "messages": chat(*EARLIER, ("user", ASK), ("assistant", a)),
            "label": up,
        },
        EARLIER,
    ),
    "a question beside earlier messages": (
        lambda a, up: {"question": ASK, "conversation": chat(*EARLIER), "answer": a, "label": up},
        EARLIER,
    ),
    "helpsteer's marks": (
        lambda a, up: {
            "prompt": f"Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\n{ASK}",
            "response": a,
            "label": up,
        },
        EARLIER,
    ),
}


def read(path: Path, rows: list[dict[str, Any]]) -> tuple[list[Demonstration], list[Any]]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    refused: list[Any] = []
    return list(read_demonstrations(path, on_refused=refused.append)), refused


def turns(item: Demonstration) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in item.messages]


@pytest.mark.parametrize("name", THUMBS)
def test_thumbs_of_a_tool_are_a_pair_with_the_turns_before_it(tmp_path: Path, name: str) -> None:
    row, before = THUMBS[name]
    found, refused = read(tmp_path / "x.jsonl", [row(GOOD, True), row(BAD, False)])
    assert refused == []
    assert [(d.chosen, d.rejected) for d in found] == [(GOOD, BAD)]
    assert turns(found[0]) == [*before, ("user", ASK)]


PAIRS: dict[str, tuple[dict[str, Any], tuple[tuple[str, str], ...]]] = {
    "argilla table": (
        {
            "prompt": ASK,
            "response_a": BAD,
            "response_b": GOOD,
            "preference.responses": ["response_a", "response_b"],
            "preference.responses.users": ["1", "2"],
            "preference.responses.status": ["draft", "submitted"],
        },
        (),
    ),
    "argilla table, ranking": (
        {
            "prompt": ASK,
            "response-1": BAD,
            "response-2": GOOD,
            "ranking": [
                {
                    "user_id": "1",
                    "value": [{"rank": 2, "value": "response-1"}, {"rank": 1, "value": "response-2"}],
                }
            ],
        },
        (),
    ),
    "label studio, a topic beside the verdict": (
        {
            "data": {"prompt": ASK, "answer1": BAD, "answer2": GOOD},
            "annotations": [
                {
                    "result": [
                        {"from_name": "topic", "value": {"choices": ["Parcels"]}},
                        {"from_name": "pw", "value": {"selected": "right"}},
                    ]
                }
            ],
        },
        (),
    ),
    "amazon nova": (
        {
            "system": [{"text": "Be brief."}],
            "messages": [
                message("user", [{"text": ASK}]),
                {
                    "role": "assistant",
                    "candidates": [
                        {"content": [{"text": BAD}], "preferenceLabel": "non-preferred"},
                        {"content": [{"text": GOOD}], "preferenceLabel": "preferred"},
                    ],
                },
            ],
        },
        (SYSTEM,),
    ),
    "judgement": ({"question": ASK, "response_A": BAD, "response_B": GOOD, "label": "B>A"}, ()),
    "judgement, other way": (
        {"question": ASK, "response_A": BAD, "response_B": GOOD, "label": "[[A<<B]]"},
        (),
    ),
    "a sentence": ({"prompt": ASK, "answer_a": GOOD, "answer_b": BAD, "winner": "A is much better"}, ()),
    "a question": ({"prompt": ASK, "Response A": GOOD, "Response B": BAD, "Which is better?": "A"}, ()),
    "shp as text": ({"history": ASK, "human_ref_A": BAD, "human_ref_B": GOOD, "labels": "0"}, ()),
    "edited": ({"context": chat(("user", ASK)), "original_response": BAD, "edited_response": GOOD}, ()),
    "developer": (
        {"prompt": chat(("developer", "Be brief."), ("user", ASK)), "chosen": GOOD, "rejected": BAD},
        (SYSTEM,),
    ),
    "texts in lists": ({"prompt": [ASK], "chosen": [GOOD], "rejected": [BAD]}, ()),
    "lone marks": (
        {
            "prompt": f"\n\nHuman: {ASK}",
            "chosen": f"\n\nAssistant: {GOOD}",
            "rejected": f"\n\nAssistant: {BAD}",
        },
        (),
    ),
    "marks on one line": (
        {"prompt": f"Human: {ASK} Assistant:", "chosen": f" {GOOD}", "rejected": f" {BAD}"},
        (),
    ),
    **{
        name: ({"prompt": prompt, "chosen": GOOD, "rejected": BAD}, before)
        for name, prompt, before in (
            ("guanaco", f"### Human: {ASK}\n### Assistant:", ()),
            ("guanaco, without a line break", f"### Human: {ASK}### Assistant:", ()),
            ("openchat", f"GPT4 Correct User: {ASK}<|end_of_turn|>GPT4 Correct Assistant:", ()),
            ("phi 4", f"<|im_start|>user<|im_sep|>{ASK}<|im_end|><|im_start|>assistant<|im_sep|>", ()),
            ("glm", f"[gMASK]<sop><|user|>\n{ASK}<|assistant|>", ()),
            ("mistral 7", f"<s>[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST]{ASK}[/INST]", (SYSTEM,)),
            ("system and user", f"System: Be brief.\nUser: {ASK}", (SYSTEM,)),
            ("openchatkit", f"<human>: {ASK}\n<bot>:", ()),
        )
    },
    "messages that end with the rejected answer": (
        {"messages": chat(("user", ASK), ("assistant", BAD)), "chosen": GOOD, "rejected": BAD},
        (),
    ),
    "models and their names": (
        {
            "prompt": ASK,
            "response_a": GOOD,
            "response_b": BAD,
            "model_a": "x-1",
            "model_b": "y-2",
            "winner": "x-1",
            "loser": "y-2",
        },
        (),
    ),
    "scores 1 and 2": ({"prompt": ASK, "answer_1": BAD, "answer_2": GOOD, "score_1": 2, "score_2": 5}, ()),
    "scores 0 and 1": ({"prompt": ASK, "answer_0": BAD, "answer_1": GOOD, "score_0": 2, "score_1": 5}, ()),
    "ranks 1 and 2": ({"prompt": ASK, "answer_1": BAD, "answer_2": GOOD, "rank_1": 2, "rank_2": 1}, ()),
    "left and right": ({"prompt": ASK, "left": BAD, "right": GOOD, "winner": "right"}, ()),
    "a position as text": ({"prompt": ASK, "responses": [BAD, GOOD], "best": "1"}, ()),
    "labels in a list": ({"prompt": ASK, "responses": [BAD, GOOD], "labels": ["rejected", "chosen"]}, ()),
    "flags in a list": ({"prompt": ASK, "responses": [BAD, GOOD], "labels": [False, True]}, ()),
    "flags in the answers": (
        {"prompt": ASK, "answers": [{"text": BAD, "accepted": False}, {"text": GOOD, "accepted": True}]},
        (),
    ),
    "a prompt beside its messages": (
        {"prompt": ASK, "messages": chat(SYSTEM, ("user", ASK)), "chosen": GOOD, "rejected": BAD},
        (SYSTEM,),
    ),
    "a verdict as an object in a cell": (
        {"prompt": ASK, "answer1": BAD, "answer2": GOOD, "pairwise": json.dumps({"selected": "right"})},
        (),
    ),
    "votes in a list": ({"question": ASK, "answers": [BAD, GOOD], "upvotes": [1, 9]}, ()),
    "messages as text": (
        {"messages": json.dumps(chat(("user", ASK), ("assistant", GOOD))), "rejected_response": BAD},
        (),
    ),
    "answers in a list": ({"prompt": ASK, "response": GOOD, "rejected_responses": [BAD]}, ()),
    "the best of the incorrect answers": (
        {
            "Question": ASK,
            "Best Answer": GOOD,
            "Best Incorrect Answer": BAD,
            "Incorrect Answers": f"{BAD}; No.",
        },
        (),
    ),
    "texts as NumPy prints them": (
        {"prompt": ASK, "responses": f"[{BAD!r}\n {GOOD!r}]", "scores": "[0.1 0.9]"},
        (),
    ),
    "context beside dialogues": (
        {
            "context": "Be brief.",
            "chosen": chat(("user", ASK), ("assistant", GOOD)),
            "rejected": chat(("user", ASK), ("assistant", BAD)),
        },
        (SYSTEM,),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_row_is_the_pair_with_the_turns_before_it(tmp_path: Path, name: str) -> None:
    row, before = PAIRS[name]
    found, refused = read(tmp_path / "x.jsonl", [row])
    assert refused == []
    assert [(turns(d), d.chosen, d.rejected) for d in found] == [([*before, ("user", ASK)], GOOD, BAD)]


UNCLEAR: dict[str, tuple[dict[str, Any], str]] = {
    "two questions": (
        {
            "fields": {"prompt": ASK, "response": GOOD},
            "responses": {"kind": [{"value": "yes"}], "short": [{"value": "no"}]},
        },
        "'kind', 'short'",
    ),
    "two controls": (
        {
            "data": {"prompt": ASK, "response": GOOD},
            "annotations": [
                {
                    "result": [
                        {"from_name": "spelling", "value": {"choices": ["good"]}},
                        {"from_name": "quality", "value": {"rating": 1}},
                    ]
                }
            ],
        },
        "'spelling', 'quality'",
    ),
    "the latency": ({"input": ASK, "output": GOOD, "scores": {"latency": 0.9}}, "'latency'"),
    "a program's score": (
        {"input": ASK, "output": GOOD, "scores": [{"name": "fits", "value": 1, "source": "EVAL"}]},
        "'fits'",
    ),
    "two scores of users": (
        {"input": ASK, "output": GOOD, "scores": {"user_kind": 1, "user_short": 0}},
        "'user_kind', 'user_short'",
    ),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_one_of_several_opinions_is_not_picked(tmp_path: Path, name: str) -> None:
    row, names = UNCLEAR[name]
    with pytest.raises(UnknownFormatError, match=names):
        read(tmp_path / "x.jsonl", [row])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": ASK, "response": GOOD, "label": True, "thumbs": "down"}, "contradict each other"),
        (
            {"prompt": ASK, "response": GOOD, "feedback": [{"score": 1}, {"score": 0}]},
            "contradict each other",
        ),
        (
            {"prompt": ASK, "response": GOOD, "feedback": {"kind": True}},
            "no known name of an opinion: it has",
        ),
        (
            {"prompt": ASK, "answer_1": GOOD, "answer_2": BAD, "score_0": 1, "score_1": 2},
            "need 'score_1' and 'score_2'",
        ),
        ({"prompt": ASK, "winner": "x-1", "loser": "y-2"}, "look like names of answers"),
        ({"prompt": ASK, "chosen": "A", "rejected": "B"}, "look like names of answers"),
        (
            {"prompt": ASK, "messages": chat(("user", "Else?")), "chosen": GOOD, "rejected": BAD},
            "lack the question",
        ),
        (
            {"prompt": ASK, "response_a": "[null]", "response_b": BAD, "winner": "b"},
            "is null",
        ),
        ({"user": "u-17", "response": GOOD, "label": True}, "looks like a name"),
        ({"question": ASK, "result": "ok", "label": True}, "looks like a status"),
        (
            {"prompt": "Say: {question}", "question": ASK, "chosen": GOOD},
            "a template with the place 'question'",
        ),
        ({"question": ASK, "best_answer": GOOD, "incorrect_answers": "No.; Never."}, "in place of a list"),
        ({"prompt": ASK, "completions": ["First.", "Then."], "labels": [1, 0]}, "no ranks and no scores"),
        ({"prompt": ASK, "response": GOOD, "flag": "true"}, "does not say whether"),
        ({"prompt": ASK, "response": GOOD, "rating": "4/7"}, "neither up nor down"),
        ({"prompt": f"<|start|>user<|message|>{ASK}", "chosen": GOOD}, "unknown chat format"),
        ({"prompt": ASK, "chosen": f"<|channel|>final<|message|>{GOOD}"}, "unknown chat format"),
        ({**web_ui(GOOD, True), "meta": {"message_id": "9"}}, "lacks the rated message '9'"),
        ({**gradio(GOOD, True), "index": 9}, "no message at the position"),
        ({**gradio(GOOD, True), "index": 1}, "is not the one at the position"),
        ({"prompt": ASK, "answer_a": GOOD, "answer_b": BAD, "winner": "A is worse"}, "names neither"),
    ],
)
def test_what_is_not_understood_costs_the_row(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    found, refused = read(tmp_path / "x.jsonl", [row])
    assert found == []
    assert [reason in one.reason for one in refused] == [True]


@pytest.mark.parametrize(
    ("row", "advice"),
    [
        (
            {"question": ASK, "text": GOOD, "feedback": "up"},
            "'thumbs'.*--columns prompt=question,completion=...,label=feedback",
        ),
        (
            {"Question": ASK, "Answer": GOOD, "Was it fine?": "yes"},
            "'thumbs'.*--columns prompt=Question,completion=Answer,label=...",
        ),
        (
            {"Question": ASK, "Answer A": GOOD, "Answer B": BAD, "Which one?": "A"},
            "'two answers and a verdict'.*--columns "
            "'prompt=Question,response_a=Answer A,response_b=Answer B,preference=...'",
        ),
    ],
)
def test_the_nearest_shape_is_named_with_the_columns(
    tmp_path: Path, row: dict[str, Any], advice: str
) -> None:
    with pytest.raises(UnknownFormatError, match=advice):
        read(tmp_path / "x.jsonl", [row])


def test_letters_of_options_are_answers(tmp_path: Path) -> None:
    row = {"prompt": "Which is a fish?\nA) cod\nB) cow", "chosen": "A", "rejected": "B"}
    found, refused = read(tmp_path / "x.jsonl", [row])
    assert [(d.chosen, d.rejected, refused) for d in found] == [("A", "B", [])]


def test_columns_name_a_score_of_a_list_by_its_name_or_position(tmp_path: Path) -> None:
    rows = [
        {"q": ASK, "a": answer, "scores": [{"name": "fits", "value": int(up), "source": "EVAL"}]}
        for answer, up in ((GOOD, True), (BAD, False))
    ]
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    for part in ("fits", "0"):
        columns = {"prompt": "q", "completion": "a", "label": f"scores.{part}"}
        found = list(read_demonstrations(path, columns=columns))
        assert [(d.prompt, d.chosen, d.rejected) for d in found] == [(ASK, GOOD, BAD)]


def test_each_tool_is_reached_by_a_row() -> None:
    rows = [row(GOOD, True) for row, _ in THUMBS.values()] + [row for row, _ in PAIRS.values()]
    rows += [{"row_idx": 0, "row": {}}, {"info": {"post": ASK}, "summaries": []}]
    reached = {unwrapped(Row(row))[0] for row in rows}
    assert [export.name for export in EXPORTS if export.name not in reached] == []
