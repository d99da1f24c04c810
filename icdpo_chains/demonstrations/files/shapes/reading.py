"""`read_row`: finds the shape of a row among all families, and converts the row to demonstrations."""

from __future__ import annotations

import difflib
import html
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files.shapes.dialogue import value_of
from icdpo_chains.demonstrations.files.shapes.exports import EXPORTS, unwrapped
from icdpo_chains.demonstrations.files.shapes.lists import LISTS, AnswerList
from icdpo_chains.demonstrations.files.shapes.outcome import Outcome
from icdpo_chains.demonstrations.files.shapes.pairs import PAIRS, Pair
from icdpo_chains.demonstrations.files.shapes.prompts import PROMPT, TURNS, has_prompt, prompt_of
from icdpo_chains.demonstrations.files.shapes.row import Row, normal
from icdpo_chains.demonstrations.files.shapes.thumbs import THUMBS, Thumbs
from icdpo_chains.demonstrations.files.shapes.traces import TRACES
from icdpo_chains.demonstrations.files.shapes.tree import TREE, TREE_MESSAGES, Tree, TreeMessages
from icdpo_chains.demonstrations.files.shapes.verdicts import VERDICTS, Verdict, has_two_answers
from icdpo_chains.errors import DemonstrationError, InvalidInputError, UnknownFormatError

__all__ = ["SHAPES", "Reading", "asks", "check_columns", "fitting", "prompt_row", "read_row", "recognized"]

Shape = Pair | Verdict | AnswerList | Tree | TreeMessages | Thumbs

SHAPES: tuple[Shape, ...] = (TREE, TREE_MESSAGES, *LISTS[:1], *VERDICTS, *PAIRS, *LISTS[1:], *THUMBS)
"""All shapes; the first one whose columns are present and not null applies."""

_NESTED = frozenset(
    (
        *("answers", "completions", "responses", "generations", "candidates", "outputs", "options"),
        *("summaries", "ranks", "rankings", "scores", "ratings", "rewards", "metadata", "data"),
        *("annotations", "fields", "inputs", "feedback_stats", "feedback", "attributes"),
        *("span_annotations", "preference", "pw", "history", "info", "context", "incorrect_answers"),
        *("choose_best", "contexts", "documents", "passages", "system", "chat_history"),
        *("conversation_history", "message_history", "previous_turns", "previous_messages", "pairwise"),
        *("source_documents", "retrieved_contexts", "retrieved_context", "ranking"),
    )
)
"""Columns that may contain lists or objects as text; in other columns, such text stays text."""
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|[a-zA-Z]{2,8});")


_EXPLICIT = next(shape for shape in PAIRS if shape.alone)
_VERDICT = next(shape for shape in VERDICTS if shape.decide is None)


@dataclass(frozen=True)
class Reading:
    """The result of reading a row.

    Attributes:
        shape: the name of the shape, with the tool that exported the row.
        outcomes: demonstrations, votes and reasons to skip the row.
        notes: the changes to its texts.
    """

    shape: str
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...] = ()


def read_row(row: object, *, all_pairs: bool = False, verdict: tuple[str, str] | None = None) -> Reading:
    """Reads one row of a preference file in any known shape.

    Text is kept exactly, with two exceptions. In a prompt with the marks of turns, the marks are removed, and
    the answers lose the white space and the strings at their ends. HTML entities are replaced by their
    characters; tags stay.

    Args:
        row: the row's values by column.
        all_pairs: return all pairs of a ranked list, instead of the best against the worst.
        verdict: the verdicts for the first and for the second of two answers; other verdicts are ties.

    Raises:
        UnknownFormatError: the columns fit no shape.
        DemonstrationError: a value is invalid: a missing, blank or repeated answer, an unknown role, two
            dialogues with different prompts, a verdict that names neither answer, and so on.
    """
    if not isinstance(row, Mapping):
        raise DemonstrationError(
            f"the row is a {type(row).__name__}, not an object with columns: {row!r:.60}"
        )
    try:
        values, notes = _without_entities(_opened(row))
        tool, flat = unwrapped(Row(values))
        fits = _fits(tuple(flat.names))
        if not fits and not TREE.complete(flat):
            raise UnknownFormatError(_unknown(row))
        complete = [shape for shape in (TREE, *fits) if shape.complete(flat)]
        whole = [shape for shape in complete if isinstance(shape, Pair) and not shape.halved(flat)]
        shape = next(iter(complete), None)
        if isinstance(shape, Pair) and shape.halved(flat) and whole:
            shape = whole[0]
        if shape is None:
            raise DemonstrationError(_incomplete(flat, fits[0]))
        if isinstance(shape, (AnswerList, Tree)):
            outcomes = shape.read(flat, all_pairs=all_pairs)
        elif isinstance(shape, Verdict):
            outcomes = shape.read(flat, verdict=verdict)
        else:
            outcomes = shape.read(flat)
    except InvalidInputError as error:
        raise DemonstrationError(str(error)) from None
    except (TypeError, OverflowError) as error:
        raise DemonstrationError(f"a value of the row has an unexpected type: {error}") from None
    except RecursionError:
        raise DemonstrationError("the row is nested too deeply") from None
    return Reading(f"{tool}: {shape.name}" if tool else shape.name, tuple(outcomes), notes)


def fitting(columns: Iterable[str]) -> bool:
    """Whether rows with these columns can be demonstrations."""
    row = Row(dict.fromkeys(columns))
    names = set(row.names)
    if _fits(tuple(row.names)):
        return True
    nested = ({"data", "annotations"}, {"fields", "responses"}, {"inputs", "outputs"}, {"row_idx", "row"})
    more = ({"info", "summaries"}, {"input", "output", "scores"}, {"attributes"}, {"attributes_input_value"})
    logs = ({"data", "meta", "snapshot"}, {"conversation", "index", "value", "flag"})
    traces = ({trace.asked, trace.said, path.split(".")[0]} for trace in TRACES for path in trace.feedback)
    if any(wanted <= names for wanted in (*nested, *more, *logs, *traces)):
        return True
    table = any(f"{name}_users" in names for name in names if name.endswith("_responses"))  # Argilla's
    return table or ("ranking" in names and has_two_answers(names))


def recognized(row: Mapping[str, Any]) -> bool:
    """Whether an object is a row: it has known columns or is a tree of messages."""
    if fitting(map(str, row)) or TREE.complete(Row(row)):
        return True
    try:
        return unwrapped(Row(row))[0] is not None
    # A tool's row with an invalid value.
    except (DemonstrationError, UnknownFormatError, TypeError, OverflowError, RecursionError):
        return True


def asks(row: Mapping[str, Any]) -> bool:
    """Whether a row has its question as a text."""
    texts = {str(name): value for name, value in row.items() if isinstance(value, str)}
    return has_prompt(Row(texts))


def check_columns(columns: Iterable[str]) -> None:
    """Checks that rows with these columns can be demonstrations.

    Raises:
        UnknownFormatError: the columns fit no known shape; the message names the nearest shape.
    """
    names = list(columns)
    if not fitting(names):
        raise UnknownFormatError(_unknown(dict.fromkeys(names)))


def prompt_row(row: Mapping[str, Any]) -> Demonstration | None:
    """Returns a row's prompt with its metadata and a meaningless answer, or `None`."""
    flat = Row({name: value for name, value in row.items() if name not in ("chosen", "rejected")})
    if flat.first("prompt", "conversations", "messages") is None or not has_prompt(flat, filled=True):
        return None
    try:
        prompt, _ = prompt_of(flat)
        return None if prompt is None else Demonstration(prompt, "any", None, flat.metadata())
    except (InvalidInputError, TypeError, OverflowError) as error:
        raise DemonstrationError(str(error)) from None
    except RecursionError:
        raise DemonstrationError("the row is nested too deeply") from None


@lru_cache(maxsize=1024)
def _fits(names: tuple[str, ...]) -> tuple[Shape, ...]:
    row = Row(dict.fromkeys(names))
    return tuple(shape for shape in SHAPES if shape.fits(row))


def _opened(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Parses lists and objects written as text, as in the cells of a CSV file."""
    opened = {
        name: parsed
        for name, value in row.items()
        if isinstance(value, str) and value.lstrip()[:1] in ("[", "{") and normal(str(name)) in _NESTED
        if (parsed := value_of(value)) is not None
        if name != "metadata" or isinstance(parsed, Mapping)
    }
    return {**row, **opened} if opened else row


def _without_entities(row: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Replaces HTML entities in the row's texts; texts in messages are unchanged."""
    escaped = {
        name: html.unescape(value)
        for name, value in row.items()
        if isinstance(value, str) and "&" in value and _ENTITY.search(value) and value != html.unescape(value)
    }
    if not escaped:
        return row, ()
    return {**row, **escaped}, ("HTML entities such as &amp; were replaced",)


def _incomplete(row: Row, shape: Shape) -> str:
    null = [name for name in row.names if row.peek(name) is None]
    where = ", ".join(map(repr, null[:5])) or "its columns"
    return f"the row has no value to use in {where}: {shape.name!r} needs {shape.columns}"


def _unknown(row: Mapping[str, Any]) -> str:
    names = [str(name) for name in row]
    seen = ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")
    shape, renames = _nearest(names)
    advice = f"The nearest is {shape.name!r}: {shape.columns}"
    renamed = ", ".join(f"{new}={old}" for new, old in renames.items())
    if renamed:
        columns = shlex.quote(renamed.replace(", ", ","))
        advice += f". Rename the columns, for instance by --columns {columns}"
    if not renamed or "..." in renames.values():
        advice += (
            ". Name the columns by --columns prompt=...,chosen=...,rejected=... (pairs) or "
            "prompt=...,answer=...,label=... (thumbs)"
        )
    tools = ", ".join(export.name for export in EXPORTS)
    return (
        f"the columns fit no known shape: {seen or 'none at all'}. {advice}. Known are: "
        "prompt + chosen (+ rejected), conversations + chosen (ShareGPT), two answers and a verdict, ranked "
        f"lists, thumbs, exports of {tools}"
    )


def _nearest(names: list[str]) -> tuple[Shape, dict[str, str]]:
    """Returns the shape nearest to the columns, and the columns to rename."""
    given = {normal(name): name for name in names}
    renames: dict[str, str] = {}
    for wanted in ("prompt", "chosen", "rejected"):
        if wanted not in given:
            near = difflib.get_close_matches(wanted, list(given), n=1, cutoff=0.7)
            if near:
                renames[wanted] = given[near[0]]
    if renames:
        return _EXPLICIT, renames
    asked = next((given[name] for name in (*PROMPT, *TURNS) if name in given), None)
    two = next(((one, other) for one, other in _VERDICT.answers if one in given and other in given), None)
    if two is not None:
        answers = {"response_a": given[two[0]], "response_b": given[two[1]]}
        return _VERDICT, {"prompt": asked or "...", **answers, "preference": "..."}
    opinion = next((given[name] for shape in THUMBS for name in shape.label if name in given), None)
    said = next((given[n] for n in ("answer", "response", "completion", "output") if n in given), None)
    if asked is not None and (opinion or said) is not None:
        return THUMBS[0], {"prompt": asked, "completion": said or "...", "label": opinion or "..."}
    return _EXPLICIT, {}
