"""`Harmless`: a conversation of the same shape with harmless texts, to learn what a chat template does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from icdpo_chains.messages import Message
from icdpo_chains.tool_calls.tool_call import ToolCall

__all__ = ["Harmless", "is_shown", "switches_of"]

_ESCAPES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&#39;"), ('"', "&#34;"))
_UNSAFE = re.compile(r"[^\w\s$.-]")
_MARK = re.compile(r"zqk\d+(?:x|c\d+[nv])")
_SWITCH = re.compile(r"""["'](/[a-z][a-z_]*)["']""")


def switches_of(chat_template: object) -> tuple[str, ...]:
    """Returns the words that a chat template looks for in a message, such as SmolLM3's `/no_think`."""
    return tuple(dict.fromkeys(_SWITCH.findall(str(chat_template or ""))))


@dataclass(frozen=True)
class Harmless:
    """A conversation of the same shape with harmless texts.

    Attributes:
        turns: the conversation.
        marks: the texts that a rendered conversation has to show, in their order: of each turn those of its
            content and its calls.
        key: equal for conversations of the same shape.
    """

    turns: tuple[Message, ...]
    marks: tuple[str, ...]
    key: tuple[object, ...]

    @classmethod
    def like(cls, turns: Sequence[Message], switches: Sequence[str] = ()) -> Harmless:
        """Returns the harmless conversation of the shape of another one.

        Args:
            turns: the other conversation.
            switches: the words that the template looks for; they stay where they are.
        """
        harmless: list[Message] = []
        marks: list[str] = []
        ids: dict[str, str] = {}
        for place, turn in enumerate(turns):
            content = ""
            if turn.content.strip():
                marks.append(f"zqk{place}x")
                content = " ".join([marks[-1], *(switch for switch in switches if switch in turn.content)])
            calls = []
            for number, call in enumerate(turn.tool_calls):
                mark = f"zqk{place}c{number}"
                marks.append(f"{mark}n")
                if call.arguments:
                    marks.append(f"{mark}v")
                # Some templates write control tokens around each argument (GLM-4.5).
                arguments = {"a" if i == 0 else f"a{i}": f"{mark}v" for i in range(len(call.arguments))}
                calls.append(ToolCall(f"{mark}n", arguments, _harmless_id(call.id, ids)))
            harmless.append(
                replace(
                    turn,
                    content=content,
                    tool_calls=tuple(calls),
                    name="zqkname" if turn.name else None,
                    tool_call_id=_harmless_id(turn.tool_call_id, ids),
                )
            )
        return cls(tuple(harmless), tuple(marks), tuple(harmless))

    def ending(self, mark: str) -> Harmless:
        """Returns the same with a mark at the end of the last text."""
        last = self.turns[-1]
        turns = (*self.turns[:-1], replace(last, content=last.content + mark))
        return Harmless(turns, self.marks, turns)

    def shown_in(self, rendered: str) -> bool:
        """Whether a rendered text shows all marks."""
        return set(self.marks) <= _first_places(rendered).keys()

    def in_order(self, rendered: str) -> bool:
        """Whether the marks stand in their order; a template may place the system message that opens."""
        found = _first_places(rendered)
        # The results of several calls may be moved after their calls.
        moved = {f"zqk{place}x" for place, turn in enumerate(self.turns) if turn.role == "tool"}
        first = 1 if self.turns and self.turns[0].role == "system" else 0
        places = [found.get(mark, -1) for mark in self.marks[first:] if mark not in moved]
        return places == sorted(places)

    @staticmethod
    def options(options: Any) -> Any:
        """Returns template options, such as tools, with harmless texts."""
        if isinstance(options, str):
            return _UNSAFE.sub("_", options)
        if isinstance(options, Mapping):
            return {Harmless.options(name): Harmless.options(item) for name, item in options.items()}
        if isinstance(options, (list, tuple)):
            return [Harmless.options(item) for item in options]
        return options


def is_shown(text: str, rendered: str, switches: Sequence[str] = ()) -> bool:
    """Whether a rendered conversation shows a text, as it is, as JSON, or with other spaces.

    Args:
        text: the text.
        rendered: the conversation.
        switches: the words that the template may take out of the text.
    """
    text = text.strip()
    if text in rendered:
        return True
    for switch in switches:
        text = text.replace(switch, "")
    json_form = json.dumps(text, ensure_ascii=False)[1:-1]
    forms = (text, json_form, json.dumps(text)[1:-1], json.dumps(json_form)[1:-1], _escaped(text))
    bare = _bare(rendered)
    return any(_bare(form) in bare for form in forms)


def _harmless_id(id_: str | None, known: dict[str, str]) -> str | None:
    """Returns a harmless id of the same length, because templates check it (Mistral: 9 characters)."""
    if not id_:
        return id_
    return known.setdefault(id_, f"{len(known):0>{len(id_)}}"[-len(id_) :])


def _first_places(rendered: str) -> dict[str, int]:
    """The place of each mark's first occurrence, found in one pass."""
    places: dict[str, int] = {}
    for found in _MARK.finditer(rendered.casefold()):
        places.setdefault(found[0], found.start())
    return places


def _escaped(text: str) -> str:
    for character, name in _ESCAPES:
        text = text.replace(character, name)
    return text


def _bare(text: str) -> str:
    return "".join(text.split()).casefold()
