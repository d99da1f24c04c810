"""`Layout`: how a conversation is given to a chat template; templates differ in what they take."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from icdpo_chains.messages import Message

__all__ = ["Layout", "layouts", "opening_told", "with_ids", "without_system"]

_SHORT_ID = re.compile(r"[a-zA-Z0-9]{9}")


@dataclass(frozen=True)
class Layout:
    """How a conversation is given to a chat template.

    Attributes:
        content: the form of contents: texts, or lists of parts (the templates of vision models).
        system: the system messages that stay: all, the one that opens the conversation, or none. The texts
            of the others open the next user turn.
        joined: whether neighbouring turns of one role are joined, for templates whose roles alternate.
        calls: the form of tool calls: arguments as a mapping (the form that transformers documents) or as
            JSON, or the calls as a part of the text.
        no_words: the content of a call without words: the empty text, or `None`.
        short_ids: whether the ids of calls are nine letters and digits long, as Mistral's templates demand.
        split: whether the words of a message and each of its calls are messages of their own, each call
            with its result after it.
        results: the role of a tool's result.
    """

    content: Literal["text", "parts"] = "text"
    system: Literal["all", "first", "none"] = "all"
    joined: bool = False
    calls: Literal["mapping", "json", "text"] = "mapping"
    no_words: Literal[""] | None = ""
    short_ids: bool = False
    split: bool = False
    results: Literal["tool", "user"] = "tool"

    def messages(self, turns: Sequence[Message]) -> list[dict[str, Any]]:
        """Returns the turns as a chat template takes them."""
        turns = [self._in_text(turn) for turn in (_split(turns) if self.split else turns)]
        if self.system != "all":
            first = 1 if self.system == "first" and turns and turns[0].role == "system" else 0
            turns = [*turns[:first], *without_system(turns[first:])]
        if self.joined:
            turns = _joined(turns)
        return [self._message(turn) for turn in turns]

    def _in_text(self, turn: Message) -> Message:
        if turn.tool_calls and self.calls == "text":
            return Message("assistant", turn.text)
        if turn.role == "tool" and self.results == "user":
            name = f" {turn.name}" if turn.name else ""
            return Message("user", f"Result of the tool{name}:\n{turn.content}")
        return turn

    def _message(self, turn: Message) -> dict[str, Any]:
        fields = turn.to_dict()
        if self.content == "parts":
            fields["content"] = [{"type": "text", "text": turn.content}]
        if turn.tool_calls and not turn.content:
            fields["content"] = self.no_words
        for call, given in zip(fields.get("tool_calls", ()), turn.tool_calls, strict=False):
            if self.calls == "json":
                call["function"]["arguments"] = given.json()
            if self.short_ids:
                call["id"] = _short(call["id"])
        if self.short_ids and "tool_call_id" in fields:
            fields["tool_call_id"] = _short(fields["tool_call_id"])
        return fields


def layouts(turns: Sequence[Message]) -> Iterator[Layout]:
    """Yields the layouts in which a conversation can be given to a template, the plainest first."""
    calls: list[dict[str, Any]] = [{}]
    if any(turn.tool_calls for turn in turns):
        names = ("split", "short_ids", "calls", "no_words")
        forms = itertools.product((False, True), (False, True), ("mapping", "json"), ("", None))
        calls = [dict(zip(names, form, strict=True)) for form in forms]
        calls.append({"calls": "text"})
    elif any(turn.tool_call_id for turn in turns):
        calls.append({"short_ids": True})
    results = ("tool", "user") if any(turn.role == "tool" for turn in turns) else ("tool",)
    system: tuple[str, ...] = ("all",)
    if any(turn.role == "system" for turn in turns):
        late = any(turn.role == "system" for turn in turns[1:])
        system = ("all", "first", "none") if late else ("all", "none")
    neighbours = any(one.role == two.role != "tool" for one, two in itertools.pairwise(turns))
    joined = (False, True) if neighbours or len(system) + len(results) > 2 else (False,)
    for result, call, join, kept, content in itertools.product(
        results, calls, joined, system, ("text", "parts")
    ):
        if result == "tool" or "no_words" not in call:  # a structured call wants a structured result
            yield Layout(content=content, system=kept, joined=join, results=result, **call)


def with_ids(turns: Sequence[Message]) -> list[Message]:
    """Returns the turns with an id for each tool call, and with the id and the name of its call for a result.

    Results without an id belong to the calls before them, in their order.
    """
    result: list[Message] = []
    names: dict[str, str] = {}
    waiting: list[str] = []
    for place, turn in enumerate(turns):
        if turn.tool_calls:
            calls = tuple(
                replace(call, id=call.id or _short(f"{place} {i} {call.name}"))
                for i, call in enumerate(turn.tool_calls)
            )
            turn = replace(turn, tool_calls=calls)
            names |= {str(call.id): call.name for call in calls}
            waiting = [str(call.id) for call in calls]
        elif turn.role == "tool" and (turn.tool_call_id or waiting):
            known = turn.tool_call_id or waiting[0]
            waiting = [each for each in waiting if each != known]
            turn = replace(turn, tool_call_id=known, name=turn.name or names.get(known))
        result.append(turn)
    return result


def without_system(turns: Sequence[Message]) -> list[Message]:
    """Returns the turns with each system text moved into the next user turn."""
    result: list[Message] = []
    waiting: list[str] = []
    for turn in turns:
        if turn.role == "system":
            waiting.append(turn.content)
        elif turn.role == "user" and waiting:
            result.append(Message("user", "\n\n".join([*waiting, turn.content])))
            waiting = []
        else:
            result.append(turn)
    return result + [Message("user", "\n\n".join(waiting))] * bool(waiting)


def opening_told(conversation: Sequence[Message]) -> list[Message]:
    """Returns the conversation with the assistant's turn that opens it given to the user."""
    turns = list(conversation)
    first = next((i for i, turn in enumerate(turns) if turn.role != "system"), len(turns))
    if first < len(turns) and turns[first].role == "assistant" and not turns[first].tool_calls:
        turns[first] = Message("user", f"You began the conversation:\n{turns[first].content}")
    return turns


def _split(turns: Sequence[Message]) -> list[Message]:
    """The turns with one call in each message, and its result after it."""
    result: list[Message] = []
    moved: set[int] = set()
    for place, turn in enumerate(turns):
        if not turn.tool_calls:
            result += [] if place in moved else [turn]
            continue
        if turn.content.strip():
            result.append(Message("assistant", turn.content))
        end = next((i for i in range(place + 1, len(turns)) if turns[i].role != "tool"), len(turns))
        for call in turn.tool_calls:
            result.append(Message("assistant", "", (call,)))
            own = [i for i in range(place + 1, end) if turns[i].tool_call_id == call.id and i not in moved]
            moved.update(own)
            result += [turns[i] for i in own]
    return result


def _joined(turns: Sequence[Message]) -> list[Message]:
    """The turns with neighbours of one role joined; calls and results stay apart."""
    result: list[Message] = []
    for turn in turns:
        before = result[-1] if result else None
        if before and before.role == turn.role != "tool" and not (before.tool_calls or turn.tool_calls):
            result[-1] = Message(turn.role, f"{before.content}\n\n{turn.content}")
        else:
            result.append(turn)
    return result


def _short(given: str) -> str:
    if _SHORT_ID.fullmatch(given):
        return given
    return hashlib.sha256(given.encode("utf-8", "replace")).hexdigest()[:9]
