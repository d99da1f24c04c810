"""Shapes with a list of ranked or rated answers; `LISTS` has one entry for each shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files.shapes.dialogue import text_of_html
from icdpo_chains.demonstrations.files.shapes.prompts import has_prompt, prompt_of
from icdpo_chains.demonstrations.files.shapes.row import Outcome, Row, Skipped, normal
from icdpo_chains.demonstrations.files.shapes.values import answer_from, joined
from icdpo_chains.errors import DemonstrationError
from icdpo_chains.messages import Message

__all__ = ["LISTS", "TREE", "AnswerList", "Tree"]

_COLUMNS = (
    *("answers", "completions", "responses", "generations", "candidates", "outputs", "replies", "options"),
    *("choices", "all_responses", "summaries"),
)
_TEXTS = ("answer", "response", "text", "content", "completion", "output", "body", "generation", "message")
_LOW = ("rank", "ranking", "position")
_HIGH = (
    *("overall_score", "pm_score", "score", "rating", "reward", "votes", "upvotes", "likes"),
    *("fine_grained_score", "helpfulness", "quality"),
)
_PARALLEL_LOW = ("ranks", "rank", "ranking", "rankings")
_PARALLEL_HIGH = ("scores", "ratings", "rewards", "score", "rating", "votes", "labels")
_POINTER = ("best", "best_index", "chosen", "chosen_index", "choice", "selected", "label", "preferred")


@dataclass(frozen=True)
class AnswerList:
    """A prompt and a list of answers with ranks or scores: gives the best against the worst.

    Attributes:
        name: the shape's name.
        columns: a description of the columns, for the documentation.
        pointed: whether a column has the position of the best answer.
    """

    name: str
    columns: str
    pointed: bool = False

    def fits(self, row: Row) -> bool:
        """Whether the row has the columns."""
        return row.has(*_COLUMNS) and has_prompt(row)

    def complete(self, row: Row) -> bool:
        """Whether there is a list, and the position of the best answer if the shape needs one."""
        if self.pointed and (row.first("rejected") or not _points(row.peek(row.first(*_POINTER) or ""))):
            return False
        return self._list(row) is not None and has_prompt(row, filled=True)

    def read(self, row: Row, *, all_pairs: bool = False) -> list[Outcome]:
        """Returns the pair of the best and the worst answer, or all pairs that differ in rank.

        Raises:
            DemonstrationError: the answers have no ranks, or a value is invalid.
        """
        name = self._list(row) or ""
        items = row.take(name)
        prompt, marked = prompt_of(row)
        worth = _worth(row, items)
        texts = [_item_text(item) for item in items]
        if any(isinstance(item, Mapping) and "pm_score" in item for item in items):  # Stack Exchange
            prompt = text_of_html(prompt) if isinstance(prompt, str) else prompt
            texts = [text_of_html(text) if isinstance(text, str) else text for text in texts]
        read = [answer_from(text, f"answer {i + 1}", marked=marked) for i, text in enumerate(texts)]
        order = sorted(range(len(read)), key=lambda i: -worth[i])
        pairs = [(order[0], order[-1])]
        if all_pairs or self.pointed:
            pairs = list(combinations(order, 2))
        pairs = [(i, j) for i, j in pairs if worth[i] > worth[j] and read[i][1].strip() != read[j][1].strip()]
        if not pairs:
            return [Skipped("a tie")]
        metadata = row.metadata()
        return [
            Demonstration(
                joined(prompt, {"chosen": read[i][0], "rejected": read[j][0]}),
                read[i][1],
                read[j][1],
                metadata,
            )
            for i, j in pairs
        ]

    @staticmethod
    def _list(row: Row) -> str | None:
        for name in _COLUMNS:
            value = row.peek(name)
            if (
                isinstance(value, list)
                and len(value) > 1
                and all(isinstance(v, (str, Mapping)) for v in value)
            ):
                return name
        return None


@dataclass(frozen=True)
class Tree:
    """Open Assistant's trees: a message with replies, which have ranks and their own replies."""

    name: str = "Open Assistant tree"
    columns: str = "prompt (text, role, replies with rank, ...)"

    def fits(self, row: Row) -> bool:
        """Whether the row has the columns."""
        return self.complete(row)

    def complete(self, row: Row) -> bool:
        """Whether the prompt has replies."""
        prompt = row.peek("prompt")
        return isinstance(prompt, Mapping) and "text" in prompt and isinstance(prompt.get("replies"), list)

    def read(self, row: Row, *, all_pairs: bool = False) -> list[Outcome]:
        """Returns a pair (or all pairs) for each prompter's message with ranked replies."""
        found: list[Outcome] = []
        waiting: list[tuple[tuple[Message, ...], Any]] = [((), row.take("prompt"))]
        metadata = row.metadata()
        while waiting:
            before, node = waiting.pop()
            if not isinstance(node, Mapping) or not isinstance(node.get("text"), str):
                raise DemonstrationError("a message of the tree has no text")
            role = "user" if node.get("role") in ("prompter", "user", "human") else "assistant"
            path = (*before, Message(role, node["text"]))  # type: ignore[arg-type]
            replies = [reply for reply in node.get("replies") or [] if isinstance(reply, Mapping)]
            waiting += [(path, reply) for reply in reversed(replies)]
            ranked = [
                r
                for r in replies
                if isinstance(r.get("rank"), (int, float)) and isinstance(r.get("text"), str)
            ]
            ranked.sort(key=lambda reply: reply["rank"])
            if role != "user" or len(ranked) < 2:
                continue
            prompt = path[0].content if len(path) == 1 else path
            pairs = list(combinations(ranked, 2)) if all_pairs else [(ranked[0], ranked[-1])]
            found += [
                Demonstration(prompt, one["text"], other["text"], metadata)
                for one, other in pairs
                if one["rank"] < other["rank"]
            ]
        return found or [Skipped("no message with two ranked replies")]


def _worth(row: Row, items: list[Any]) -> list[float]:
    """Returns the worth of each answer (higher is better) from ranks or scores."""
    beside: tuple[tuple[tuple[str, ...], float], ...] = ((_PARALLEL_LOW, -1.0), (_PARALLEL_HIGH, 1.0))
    inside: tuple[tuple[tuple[str, ...], float], ...] = ((_LOW, -1.0), (_HIGH, 1.0))
    for names, sign in inside:
        for name in names:
            values = [_key(item, name) for item in items]
            if all(_is_number(value) for value in values):
                return [sign * float(value) for value in values]
    for names, sign in beside:
        for name in names:
            values = row.peek(name)
            if isinstance(values, list) and len(values) == len(items) and all(map(_is_number, values)):
                row.take(name)
                return [sign * float(value) for value in values]
    pointer = row.first(*_POINTER)
    best = row.peek(pointer) if pointer else None
    if isinstance(best, int) and _points(best) and best < len(items):
        row.take(pointer or "")
        return [float(i == best) for i in range(len(items))]
    raise DemonstrationError(
        f"the list of {len(items)} answers has no ranks and no scores: each needs a number 'rank' or 'score'"
    )


def _key(item: Any, name: str) -> Any:
    if not isinstance(item, Mapping):
        return None
    return next((value for key, value in item.items() if isinstance(key, str) and normal(key) == name), None)


def _points(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _item_text(item: Any) -> Any:
    if isinstance(item, str):
        return item
    for name in _TEXTS:
        value = _key(item, name)
        if value is not None:
            return value
    return item


TREE = Tree()
LISTS: tuple[AnswerList, ...] = (
    AnswerList(
        "a list of answers and the position of the best",
        "prompt; responses (answers, summaries, ...); chosen, best or choice: a number from 0",
        pointed=True,
    ),
    AnswerList(
        "ranked or rated answers",
        "prompt; answers, completions, responses, ... (objects with rank or score; Nectar, UltraFeedback, "
        "Stack Exchange), or texts beside ranks or scores",
    ),
)
