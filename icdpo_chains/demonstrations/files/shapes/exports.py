"""Exports of feedback tools: `unwrapped` flattens their nested rows.

`_EXPORTS` has one entry for each tool. The shapes of the other modules read the flat rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from icdpo_chains.demonstrations.files.shapes.chat_logs import gradio_chat, nova, open_webui
from icdpo_chains.demonstrations.files.shapes.dialogue import value_of
from icdpo_chains.demonstrations.files.shapes.feedback import together
from icdpo_chains.demonstrations.files.shapes.row import Row, normal
from icdpo_chains.demonstrations.files.shapes.traces import TRACES, phoenix
from icdpo_chains.demonstrations.files.shapes.verdicts import has_two_answers
from icdpo_chains.errors import UnknownFormatError

__all__ = ["EXPORTS", "unwrapped"]

Flat = dict[str, Any]

_CONTROLS = ("selected", "choices", "rating")
_VERDICTS = ("preference", "preferred", "choice", "chosen", "choose_best", "label", "winner", "better")
_QUESTIONS = (*_VERDICTS, "ranking", "rating", "score", "correction")
"""Argilla's questions whose names tell their meaning."""


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
    given: dict[str, list[Any]] = {}
    for annotation in annotations:
        if not isinstance(annotation, Mapping) or annotation.get("was_cancelled"):
            continue
        for result in annotation.get("result") or []:
            value = result.get("value") if isinstance(result, Mapping) else None
            if not isinstance(value, Mapping):
                continue
            found = next((value[key] for key in _CONTROLS if value.get(key) is not None), None)
            if found is not None and found != []:
                kind = "selected" if value.get("selected") is not None else str(result.get("from_name"))
                given.setdefault(kind, []).append(found[0] if isinstance(found, list) else found)
    two = has_two_answers(data)
    values = given["selected"] if two and "selected" in given else _only(given)
    flat = dict(data)
    if not values:
        flat |= {"preference": "none"} if two else {"label": data.get("label")}
    else:
        opinion = together(values)
        rated = isinstance(opinion, (int, float))
        flat["preference" if two else "rating" if rated else "label"] = opinion
    return flat


def _only(given: Mapping[str, list[Any]]) -> list[Any]:
    """The values of the only control or question.

    Raises:
        UnknownFormatError: there are several.
    """
    if len(given) > 1:
        raise UnknownFormatError(
            f"the annotations answer several questions, {', '.join(map(repr, given))}: export a table (CSV "
            "or JSON-MIN), and name the columns by --columns prompt=...,completion=...,label=..."
        )
    return next(iter(given.values()), [])


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
    two = has_two_answers(fields)
    return {**fields, **_opinion({name: _filled(answers) for name, answers in given.items()}, two)}


def _opinion(given: Mapping[str, list[Any]], two: bool) -> Flat:
    """The answers to questions as columns: the opinion under a known name, the others under their own."""
    flat = {name: together(values) for name, values in given.items() if values}
    if any(normal(name) in _QUESTIONS for name in flat):
        if two and not any(normal(name) in _VERDICTS for name in flat):
            name = next(name for name in flat if normal(name) in _QUESTIONS)
            flat["preference"] = flat.pop(name)
        return flat
    if not flat:
        return flat
    values = _only({name: values for name, values in given.items() if values})
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    return {"preference" if two else "rating" if numbers else "label": together(values)}


def _filled(answers: list[Any]) -> list[Any]:
    return [answer for answer in answers if answer is not None]


def _argilla_table(row: Row) -> Flat | None:
    """Argilla's data set as a table: columns `NAME.responses`, or lists of answers with their users."""
    given: dict[str, list[Any]] = {}
    used: set[str] = set()
    for column, value in row.values.items():
        name = str(column)
        question = name.removesuffix(".responses")
        value = value_of(value) if isinstance(value, str) and value[:1] == "[" else value
        if question != name and f"{name}.users" in row.values and isinstance(value, list | None):
            status = row.values.get(f"{name}.status") or []
            status = (value_of(status) if isinstance(status, str) else status) or []
            pairs = zip(value or [], [*status, *["submitted"] * len(value or [])], strict=False)
            given[question] = [_value(answer) for answer, state in pairs if state == "submitted"]
            used |= {key for key in map(str, row.values) if key.startswith((f"{name}", f"{question}.sugg"))}
        elif (
            isinstance(value, list)
            and value
            and all(isinstance(item, Mapping) and {"user_id", "value"} <= item.keys() for item in value)
        ):
            given[name] = [_value(item) for item in value if item.get("status", "submitted") == "submitted"]
            used.add(name)
    if not given:
        return None
    rest = {name: value for name, value in row.values.items() if name not in used}
    return {
        **rest,
        **_opinion({name: _filled(v) for name, v in given.items()}, has_two_answers(map(str, rest))),
    }


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


EXPORTS = (
    Export("Label Studio", "data (prompt, answer1, answer2); annotations", _label_studio),
    Export("Argilla", "fields; responses", _argilla),
    Export("Argilla table", "columns; NAME.responses, or lists of user_id and value", _argilla_table),
    *(Export(trace.name, trace.columns, trace.flat) for trace in TRACES),
    Export("Phoenix", "attributes.input.value; attributes.output.value; annotations", phoenix),
    Export("Open WebUI", "data (rating); meta (message_id); snapshot (chat)", open_webui),
    Export("Gradio chat", "conversation; index; value; flag", gradio_chat),
    Export("Amazon Nova", "messages that end with candidates; preferenceLabel", nova),
    Export("summarize_from_feedback", "info (post); summaries; choice", _summaries),
    Export("data set viewer", "row_idx; row", _viewer),
)
