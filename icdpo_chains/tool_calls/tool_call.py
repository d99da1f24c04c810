"""`ToolCall`: a call of a tool in an assistant's message."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from icdpo_chains.errors import InvalidInputError

__all__ = ["ToolCall", "as_tool_calls"]


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool in an assistant's message.

    Attributes:
        name: the tool's name.
        arguments: the tool's arguments, JSON values.
        id: the identifier that the tool's result refers to.

    Raises:
        InvalidInputError: the name is blank, or the arguments are not a mapping of JSON values.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise InvalidInputError(f"the name of a tool call is {self.name!r}: give the tool's name")
        if not isinstance(self.arguments, Mapping):
            raise InvalidInputError(
                f"the arguments of the tool call {self.name!r} are {self.arguments!r:.80}: give a mapping of "
                "names to JSON values"
            )
        if self.id is not None and not isinstance(self.id, str):
            raise InvalidInputError(f"the id of the tool call {self.name!r} is {self.id!r}: give a string")
        try:
            self.json().encode("utf-8")
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInputError(
                f"the arguments of the tool call {self.name!r} are not JSON values: {error}"
            ) from None

    def __hash__(self) -> int:  # a mapping has no hash
        return hash((self.name, self.id, self.json()))

    def json(self) -> str:
        """Returns the arguments as JSON."""
        return json.dumps(dict(self.arguments), ensure_ascii=False, allow_nan=False)

    def to_text(self) -> str:
        """Returns the call as text, in the form of Qwen, Hermes and SmolLM2."""
        body = json.dumps({"name": self.name, "arguments": dict(self.arguments)}, ensure_ascii=False)
        return f"<tool_call>\n{body}\n</tool_call>"

    def to_dict(self) -> dict[str, Any]:
        """Returns the call in the form that Hugging Face's chat templates take."""
        function = {"name": self.name, "arguments": dict(self.arguments)}
        return {"type": "function", **({"id": self.id} if self.id else {}), "function": function}


def as_tool_calls(value: object, where: str) -> tuple[ToolCall, ...]:
    """Returns tool calls in OpenAI's form, with arguments as a mapping or as JSON, as `ToolCall`s.

    Args:
        value: the calls; `None` for no call.
        where: the name of their message in an error.

    Raises:
        InvalidInputError: an item is not a tool call.
    """
    if value is None:
        return ()
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise InvalidInputError(f"the tool_calls of {where} are {value!r:.80}: give a list of calls")
    return tuple(_tool_call(item, where) for item in value)


def _tool_call(item: object, where: str) -> ToolCall:
    if isinstance(item, ToolCall):
        return item
    function = item.get("function", item) if isinstance(item, Mapping) else None
    if not isinstance(item, Mapping) or not isinstance(function, Mapping) or "name" not in function:
        raise InvalidInputError(
            f"{where} contains the tool call {item!r:.80}: give "
            '{"id": ..., "function": {"name": ..., "arguments": {...}}}'
        )
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(
                f"the arguments of the tool call {function['name']!r} in {where} are not JSON: {error}"
            ) from None
    return ToolCall(function["name"], arguments, item.get("id"))
