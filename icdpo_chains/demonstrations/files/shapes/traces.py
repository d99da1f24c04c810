"""Traces of observability tools: an input, an output, and feedback; `TRACES` has one entry for each tool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from icdpo_chains.demonstrations.files.shapes.dialogue import value_of
from icdpo_chains.demonstrations.files.shapes.feedback import opinion_of
from icdpo_chains.demonstrations.files.shapes.prompts import AROUND, PROMPT, TURNS
from icdpo_chains.demonstrations.files.shapes.row import Row, normal
from icdpo_chains.demonstrations.files.shapes.values import is_message_list

__all__ = ["TRACES", "Trace", "phoenix"]

Flat = dict[str, Any]

_INNER = (
    *("messages", "output", "input", "question", "answer"),
    *("generations", "choices", "message", "text"),
)
_ASKED, _SAID = "attributes_input_value", "attributes_output_value"


@dataclass(frozen=True)
class Trace:
    """The columns of a tool's traces.

    Attributes:
        name: the tool.
        columns: a description of the columns, for the documentation.
        asked: the column of the input.
        said: the column of the output.
        feedback: the possible columns of the feedback; a dot leads into an object.
    """

    name: str
    columns: str
    asked: str
    said: str
    feedback: tuple[str, ...]

    def flat(self, row: Row) -> Flat | None:
        """Returns the flat row, or `None` for other rows."""
        asked, said = row.peek(self.asked), row.peek(self.said)
        if asked is None or said is None:
            return None
        paths = [path.split(".") for path in self.feedback]
        if not any(row.has(path[0]) if len(path) == 1 else _inside(row, path) is not None for path in paths):
            return None
        feedback = next((found for path in paths if (found := _inside(row, path))), None)
        if feedback is None:
            feedback = next((found for path in paths if (found := _inside(row, path)) is not None), None)
        return _joined(row, asked, said, feedback, {self.asked, self.said, *(path[0] for path in paths)})


def phoenix(row: Row) -> Flat | None:
    """Returns the flat row of one of Phoenix's spans, or `None` for other rows."""
    attributes = row.peek("attributes")
    values: list[Any] = []  # the input and the output
    for side in ("input", "output"):
        value = row.peek(f"attributes_{side}_value")
        if value is None and isinstance(attributes, Mapping):
            inner = attributes.get(side)
            value = inner.get("value") if isinstance(inner, Mapping) else attributes.get(f"{side}.value")
        values.append(row.peek(side) if value is None else value)
    notes = row.first("annotations", "span_annotations", "evaluations")
    if None in values or (notes is None and not row.has("attributes", _ASKED)):
        return None
    feedback: Any = row.peek(notes) if notes else None
    if feedback is None:
        feedback = _of_columns(row)
    used = {"attributes", _ASKED, _SAID, "input", "output", "annotation_name", notes or ""}
    return _joined(row, values[0], values[1], feedback, used)


def _of_columns(row: Row) -> dict[str, dict[str, Any]]:
    """Feedback in columns: `result.score` and `result.label`, beside `annotation_name`."""
    found: dict[str, dict[str, Any]] = {}
    for name in row.names:
        stem, _, key = name.rpartition("_")
        if stem and key in ("score", "label") and row.peek(name) is not None:
            own = str(row.peek("annotation_name") or stem) if stem == "result" else stem
            found.setdefault(own, {"annotator_kind": row.peek("annotator_kind")})[key] = row.peek(name)
    return found


def _inside(row: Row, path: list[str]) -> Any:
    value = row.peek(path[0])
    for part in path[1:]:
        value = value_of(value) if isinstance(value, str) else value
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _joined(row: Row, asked: Any, said: Any, feedback: Any, used: set[str]) -> Flat:
    flat = {name: value for name, value in row.values.items() if normal(str(name)) not in used}
    opinion = opinion_of(feedback)
    column = "label" if opinion is None or isinstance(opinion, (bool, str)) else "score"
    return {**flat, **_question(asked), "response": _plain(said), column: opinion}


def _question(value: Any) -> Flat:
    """Returns an input as columns of a prompt: its messages or question, history, context and system text."""
    value = _parsed(value)
    if isinstance(value, Mapping) and isinstance(value.get("kwargs"), Mapping) and not value.get("args"):
        value = value["kwargs"]  # a traced function's arguments
    if not isinstance(value, Mapping) or is_message_list(value):
        return {"prompt": _plain(value)}
    row = Row(value)
    given = {name: row.peek(name) for name in (*PROMPT, *TURNS, *AROUND) if row.peek(name)}
    asked = next((name for name in PROMPT if name in given), None)
    turns = next((name for name in TURNS if name in given), None)
    if asked is None and turns is None:
        return {"prompt": _plain(value)}
    kept: Flat = {name: given[name] for name in AROUND if name in given}
    if turns is not None:
        messages = _plain(given[turns])
        if asked is None or not isinstance(given[asked], str) or _says(messages, given[asked]):
            return {**kept, "messages": messages}
        kept["history"] = messages
    kept |= {asked or "": _plain(given[asked or ""])}
    if asked == "instruction" and "input" in given:
        kept["input"] = given["input"]
    return kept


def _says(messages: Any, text: str) -> bool:
    """Whether one of the messages is this text."""
    items = messages if isinstance(messages, list) else [messages]
    return any(
        isinstance(item, Mapping) and text in (item.get("content"), item.get("value")) for item in items
    )


def _parsed(value: Any) -> Any:
    parsed = value_of(value) if isinstance(value, str) else None
    return parsed if isinstance(parsed, (Mapping, list)) else value


def _plain(value: Any) -> Any:
    """Returns an input or an output: parses JSON in a string, and opens objects of one level."""
    value = _parsed(value)
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


TRACES = (
    Trace(
        "LangSmith",
        "inputs; outputs; feedback_stats or feedback",
        "inputs",
        "outputs",
        ("feedback_stats", "feedback"),
    ),
    Trace("Langfuse", "input; output; scores (also Braintrust)", "input", "output", ("scores",)),
    Trace("Opik", "input; output; feedback_scores", "input", "output", ("feedback_scores",)),
    Trace("MLflow", "request; response; assessments", "request", "response", ("assessments",)),
    Trace(
        "Weave",
        "inputs; output; summary.weave.feedback",
        "inputs",
        "output",
        ("summary.weave.feedback", "summary.feedback", "feedback"),
    ),
    Trace(
        "Helicone",
        "request_body; response_body; feedback_rating",
        "request_body",
        "response_body",
        ("feedback_rating", "feedback", "scores"),
    ),
)
