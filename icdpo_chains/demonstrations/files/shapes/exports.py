"""Exports of feedback tools: `unwrapped` flattens their nested rows.

`_EXPORTS` has one entry for each tool. The shapes of the other modules read the flat rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from icdpo_chains.demonstrations.files.shapes.dialogue import value_of
from icdpo_chains.demonstrations.files.shapes.row import Row, normal
from icdpo_chains.demonstrations.files.shapes.values import is_message_list
from icdpo_chains.demonstrations.files.shapes.verdicts import has_two_answers
from icdpo_chains.errors import UnknownFormatError

__all__ = ["EXPORTS", "unwrapped"]

Flat = dict[str, Any]


@dataclass(frozen=True)
class Export:
    """A tool's export.

    Attributes:
        name: the tool.
        columns: a description of the columns, for the documentation.
        flat: returns the flat row, or `None` for other rows.
    """

    name: str
    columns: str
    flat: Callable[[Row], Flat | None]


def unwrapped(row: Row) -> tuple[str | None, Row]:
    """Returns a row's tool and its flat row; `None` and the row itself if no tool wrote it."""
    for export in EXPORTS:
        flat = export.flat(row)
        if flat is not None:
            return export.name, Row(flat)
    return None, row


def _label_studio(row: Row) -> Flat | None:
    data, annotations = row.peek("data"), row.peek("annotations")
    if not isinstance(data, Mapping) or not isinstance(annotations, list):
        return None
    votes: list[Any] = []
    rating: list[Any] = []
    for annotation in annotations:
        if not isinstance(annotation, Mapping) or annotation.get("was_cancelled"):
            continue
        for result in annotation.get("result") or []:
            value = result.get("value") if isinstance(result, Mapping) else None
            if not isinstance(value, Mapping):
                continue
            if value.get("selected") is not None:
                votes.append(value["selected"])
            elif value.get("choices"):
                votes.append(value["choices"][0])
            elif value.get("rating") is not None:
                rating.append(value["rating"])
    flat = dict(data)
    if votes:
        flat["preference" if has_two_answers(data) else "label"] = _majority(votes)
    elif rating:
        flat["rating"] = sum(rating) / len(rating)
    elif not has_two_answers(data):
        flat.setdefault("label", None)
    else:
        flat["preference"] = "none"
    return flat


def _argilla(row: Row) -> Flat | None:
    fields, responses = row.peek("fields"), row.peek("responses")
    if not isinstance(fields, Mapping) or responses is None:
        return None
    given: dict[str, list[Any]] = {}
    if isinstance(responses, Mapping):  # Argilla 2: by question
        for question, answers in responses.items():
            for answer in answers if isinstance(answers, list) else [answers]:
                given.setdefault(question, []).append(_value(answer))
    elif isinstance(responses, list):  # Argilla 1: by annotator; also a list of single responses
        for response in responses:
            if not isinstance(response, Mapping) or response.get("status", "submitted") != "submitted":
                continue
            values = response.get("values")
            if isinstance(values, Mapping):
                for question, answer in values.items():
                    given.setdefault(question, []).append(_value(answer))
            elif "value" in response:
                given.setdefault(str(response.get("question_name", "label")), []).append(_value(response))
    flat = dict(fields)
    for question, answers in given.items():
        answers = [answer for answer in answers if answer is not None]
        if answers:
            flat[question] = _majority(answers)
    two = has_two_answers(fields)
    known = (
        "preference",
        "preferred",
        "choice",
        "chosen",
        "label",
        "rating",
        "score",
        "ranking",
        "correction",
    )
    for question in given:
        if question in flat and normal(question) not in known:
            flat["preference" if two else "label"] = flat.pop(question)
    if two and "preference" not in flat:
        for question in ("ranking", "rating"):
            if question in flat:
                flat["preference"] = flat.pop(question)
    return flat


def _value(answer: Any) -> Any:
    """Returns the value of an answer in Argilla; the first value of a ranking."""
    value = answer.get("value") if isinstance(answer, Mapping) else answer
    if (
        isinstance(value, list)
        and value
        and all(isinstance(item, Mapping) and "rank" in item for item in value)
    ):
        best = min(item["rank"] for item in value)
        first = [item.get("value") for item in value if item["rank"] == best]
        return first[0] if len(first) == 1 else "tie"
    return value


def _langsmith(row: Row) -> Flat | None:
    if row.peek("inputs") is None or row.peek("outputs") is None:
        return None
    feedback = row.peek("feedback_stats") or row.peek("feedback")
    if feedback is None and not row.has("feedback_stats", "feedback"):
        return None
    flat = {"prompt": _plain(row.peek("inputs")), "response": _plain(row.peek("outputs"))}
    return _with_scores(flat, feedback, row, ("inputs", "outputs", "feedback_stats", "feedback"))


def _langfuse(row: Row) -> Flat | None:
    if row.peek("input") is None or row.peek("output") is None or not row.has("scores"):
        return None
    flat = {"prompt": _plain(row.peek("input")), "response": _plain(row.peek("output"))}
    return _with_scores(flat, row.peek("scores"), row, ("input", "output", "scores"))


def _phoenix(row: Row) -> Flat | None:
    attributes = row.peek("attributes")
    values: dict[str, Any] = {}
    for side in ("input", "output"):
        value = row.peek(f"attributes_{side}_value")
        if value is None and isinstance(attributes, Mapping):
            inner = attributes.get(side)
            value = inner.get("value") if isinstance(inner, Mapping) else attributes.get(f"{side}.value")
        if value is None:
            value = row.peek(side)
        values[side] = value
    notes = row.first("annotations", "span_annotations", "evaluations")
    if None in values.values() or (notes is None and not row.has("attributes", "attributes_input_value")):
        return None
    flat = {"prompt": _plain(values["input"]), "response": _plain(values["output"])}
    feedback: Any = row.peek(notes) if notes else None
    if feedback is None:
        found = [n for n in row.names if n.endswith(("_score", "_label")) and row.peek(n) is not None]
        feedback = {name: row.peek(name) for name in sorted(found, key=lambda n: ("user" not in n, n))}
    used = ("attributes", "attributes_input_value", "attributes_output_value", "input", "output", notes or "")
    return _with_scores(flat, feedback, row, used)


def _summaries(row: Row) -> Flat | None:
    """OpenAI's `summarize_from_feedback`: a post, two summaries, and the position of the better summary."""
    info, summaries = row.peek("info"), row.peek("summaries")
    post = info.get("post") or info.get("article") if isinstance(info, Mapping) else None
    if post is None or not isinstance(summaries, list):
        return None
    rest = {name: value for name, value in row.values.items() if name != "info"}
    return {**rest, "prompt": post}


def _viewer(row: Row) -> Flat | None:
    """A row as the data set viewer of the Hugging Face hub returns it."""
    inner = row.peek("row")
    return dict(inner) if isinstance(inner, Mapping) and row.has("row_idx") else None


_OF_USERS = ("user", "human", "feedback", "thumb")
_INNER = (
    *("messages", "output", "input", "question", "answer"),
    *("generations", "choices", "message", "text"),
)


def _plain(value: Any) -> Any:
    """Returns an input or an output: parses JSON in a string, and opens objects of one level."""
    if isinstance(value, str):
        parsed = value_of(value)
        value = parsed if isinstance(parsed, (Mapping, list)) else value
    for _ in range(6):
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], (list, Mapping)):
            # A batch of one; a single message stays a list of messages.
            if is_message_list(value) or is_message_list(value[0]):
                break
            value = value[0]
            continue
        if not isinstance(value, Mapping) or "role" in value or "content" in value or is_message_list(value):
            break
        inner = [value[k] for k in _INNER if value.get(k)]
        if not inner and len(value) == 1:
            inner = list(value.values())
        if not inner:
            break
        value = inner[0]
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):  # a batch of one
        value = value[0]
    return value


def _with_scores(flat: Flat, feedback: Any, row: Row, used: tuple[str, ...]) -> Flat:
    """Adds the first score, and the columns outside the shape."""
    named: list[tuple[str, Any]] = []
    items: list[tuple[str, Any]] = []
    if isinstance(feedback, str):
        feedback = value_of(feedback) or feedback
    if isinstance(feedback, Mapping):
        items = [(str(name), value) for name, value in feedback.items()]
    elif isinstance(feedback, list):
        items = [(str(f.get("name") or f.get("key") or ""), f) for f in feedback if isinstance(f, Mapping)]
    elif feedback is not None:
        items = [("", feedback)]
    for name, value in items:
        if isinstance(value, Mapping):
            result = value.get("result")
            inner: Mapping[str, Any] = result if isinstance(result, Mapping) else value
            keys = ("score", "avg", "value", "stringValue", "label", "string_value")
            value = next((inner[key] for key in keys if inner.get(key) is not None), None)
        if value is not None and not isinstance(value, (list, Mapping)):
            named.append((name, value))
    by_users = [pair for pair in named if any(word in pair[0].lower() for word in _OF_USERS)]
    if len({name for name, _ in named}) > 1 and not by_users:
        raise UnknownFormatError(
            f"the feedback has several names, {', '.join(repr(name) for name, _ in named[:5])}, and none is "
            "a user's: name the columns, such as --columns prompt=...,completion=...,rating=scores.N"
        )
    named = by_users or named
    flat |= {name: row.values[name] for name in row.values if normal(str(name)) not in used}
    if named:
        value = named[0][1]
        flat["label" if isinstance(value, (bool, str)) else "score"] = value
    else:
        flat.setdefault("label", None)
    return flat


def _majority(values: list[Any]) -> Any:
    """Returns the majority's value, or a tie."""
    counts = Counter(map(str, values)).most_common()
    if len(counts) > 1 and counts[0][1] == counts[1][1]:
        return "tie"
    return next(value for value in values if str(value) == counts[0][0])


EXPORTS = (
    Export("Label Studio", "data (prompt, answer1, answer2); annotations", _label_studio),
    Export("Argilla", "fields; responses", _argilla),
    Export("LangSmith", "inputs; outputs; feedback_stats or feedback", _langsmith),
    Export("Langfuse", "input; output; scores", _langfuse),
    Export("Phoenix", "attributes.input.value; attributes.output.value; annotations", _phoenix),
    Export("summarize_from_feedback", "info (post); summaries; choice", _summaries),
    Export("data set viewer", "row_idx; row", _viewer),
)
