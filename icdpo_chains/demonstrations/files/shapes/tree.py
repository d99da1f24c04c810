"""Open Assistant's trees of messages: nested in one row, or one message a row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files.shapes.outcome import Outcome, Skipped, TreeMessage
from icdpo_chains.demonstrations.files.shapes.row import Row
from icdpo_chains.errors import DemonstrationError
from icdpo_chains.messages import Message

__all__ = ["TREE", "TREE_MESSAGES", "Tree", "TreeMessages", "tree_pairs"]

_USERS = ("prompter", "user", "human")
_ALONE = "no message with two ranked replies"


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
            path = (*before, Message(_role(node.get("role")), node["text"]))  # type: ignore[arg-type]
            replies = [reply for reply in node.get("replies") or [] if isinstance(reply, Mapping)]
            waiting += [(path, reply) for reply in reversed(replies)]
            ranked = [
                (float(reply["rank"]), reply["text"])
                for reply in replies
                if _rank(reply.get("rank")) is not None and isinstance(reply.get("text"), str)
            ]
            if path[-1].role == "user":
                found += _pairs(path, ranked, metadata, all_pairs)
        return found or [Skipped(_ALONE)]


@dataclass(frozen=True)
class TreeMessages:
    """Open Assistant's messages, one a row."""

    name: str = "Open Assistant messages"
    columns: str = "message_id; parent_id; role; text; rank: one message a row"

    def fits(self, row: Row) -> bool:
        """Whether the row has the columns."""
        return all(row.has(name) for name in ("message_id", "parent_id", "role", "text", "rank"))

    def complete(self, row: Row) -> bool:
        """Whether the message has an id, a role and a text."""
        return all(row.peek(name) is not None for name in ("message_id", "role", "text"))

    def read(self, row: Row) -> list[Outcome]:
        """Returns the message, which waits for the others of its tree.

        Raises:
            DemonstrationError: the text or the role is invalid.
        """
        if row.peek("deleted") in (True, "true", "True"):
            return [Skipped("a deleted message")]
        text, own, parent = row.take("text"), row.take("message_id"), row.take("parent_id")
        if not isinstance(text, str):
            raise DemonstrationError(f"text must be a text, not {type(text).__name__}: {text!r:.60}")
        message = Message(_role(row.take("role")), text)  # type: ignore[arg-type]
        rank = _rank(row.take("rank"))
        missing = parent is None or parent == "" or (isinstance(parent, float) and math.isnan(parent))
        return [TreeMessage(str(own), None if missing else str(parent), message, rank, row.metadata())]


def tree_pairs(
    messages: Sequence[TreeMessage], *, all_pairs: bool
) -> Iterator[Demonstration | tuple[TreeMessage, str]]:
    """Yields a pair (or all pairs) for each user's message with ranked replies, in the order of the messages.

    A message with ranked replies whose conversation can't be traced to its beginning is yielded with the
    reason.
    """
    by_id = {message.id: message for message in messages}
    replies: dict[str, list[TreeMessage]] = {}
    for message in messages:
        if message.parent is not None:
            replies.setdefault(message.parent, []).append(message)
    for asked in by_id.values():
        ranked = [
            (one.rank, one.message.content) for one in replies.get(asked.id, ()) if one.rank is not None
        ]
        if asked.message.role != "user" or len(ranked) < 2:
            continue
        path, node, seen = [asked.message], asked, {asked.id}
        while node.parent is not None and node.parent in by_id and node.parent not in seen:
            node = by_id[node.parent]
            seen.add(node.id)
            path.append(node.message)
        if node.parent is not None:
            yield asked, f"the message {node.parent} before it is not in the file, or follows from it"
            continue
        yield from _pairs(tuple(reversed(path)), ranked, asked.metadata, all_pairs)


def _pairs(
    path: tuple[Message, ...],
    ranked: Iterable[tuple[float, str]],
    metadata: Mapping[str, Any],
    all_pairs: bool,
) -> list[Demonstration]:
    order = sorted(ranked, key=lambda reply: reply[0])
    if len(order) < 2:
        return []
    prompt = path[0].content if len(path) == 1 else path
    pairs = combinations(order, 2) if all_pairs else [(order[0], order[-1])]
    return [
        Demonstration(prompt, one, other, dict(metadata))
        for (best, one), (worst, other) in pairs
        if best < worst and one.strip() != other.strip()
    ]


def _role(role: Any) -> str:
    return "user" if role in _USERS else "assistant"


def _rank(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        rank = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return rank if math.isfinite(rank) else None


TREE = Tree()
TREE_MESSAGES = TreeMessages()
