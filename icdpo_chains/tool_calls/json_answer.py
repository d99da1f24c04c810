"""`JsonAnswer`: an answer that must be one JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.tool_calls.json_text import read_json

__all__ = ["JsonAnswer", "object_in"]

_TYPES: dict[str, Any] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": (int, float),
    "object": dict,
    "string": str,
}


class JsonAnswer:
    """Requires the answer to be one JSON object.

    Args:
        schema: the JSON schema of the object; `None` for any object.
        shown: show the schema to the model. In JSON mode, the prompt describes the object.
    """

    def __init__(self, schema: Mapping[str, Any] | None = None, *, shown: bool = True) -> None:
        self._schema, self._shown = schema, shown

    @classmethod
    def from_response_format(cls, response_format: Any) -> JsonAnswer:
        """Reads OpenAI's `response_format`.

        Raises:
            InvalidInputError: its type is unknown.
        """
        kind = response_format.get("type") if isinstance(response_format, Mapping) else None
        if kind == "json_object":
            return cls(response_format.get("schema"), shown=False)
        if kind == "json_schema" and isinstance(response_format.get("json_schema"), Mapping):
            return cls(response_format["json_schema"].get("schema"))
        raise InvalidInputError(
            f"response_format {response_format!r:.80} is unknown: use {{'type': 'json_object'}}, "
            "{'type': 'json_schema', 'json_schema': {'name': ..., 'schema': ...}} or with_structured_output"
        )

    @property
    def instruction(self) -> str | None:
        """Describes the expected JSON to the model; `None` in JSON mode, where the prompt describes it."""
        if self._schema is None or not self._shown:
            return None
        schema = json.dumps(self._schema, ensure_ascii=False)
        return (
            "Answer with one JSON object that fits this JSON schema, and with nothing else: no explanation, "
            f"no code fence.\n{schema}"
        )

    def fitting(self, texts: Sequence[str]) -> list[bool]:
        """Returns for each candidate whether it contains a JSON object with the schema's fields."""
        found = map(object_in, texts)
        return [
            item is not None and (self._schema is None or _matches(item[1], self._schema, self._schema))
            for item in found
        ]

    def fields(self, text: str) -> dict[str, Any]:
        """Returns the JSON alone as the content, without the text around it."""
        found = object_in(text)
        return {"content": text if found is None else found[0]}


def object_in(text: str) -> tuple[str, dict[str, Any]] | None:
    """Returns the JSON object that a text consists of or contains."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return None
    outer = text[start : end + 1]
    try:
        value = read_json(outer)
    except ValueError:
        return None
    return (outer, value) if isinstance(value, dict) else None


def _matches(value: Any, schema: Any, root: Mapping[str, Any]) -> bool:
    """Whether a value has the types, fields and choices of a schema.

    The check only orders candidates; the parser decides whether the value is valid.
    """
    if not isinstance(schema, Mapping):
        return True
    if isinstance(reference := schema.get("$ref"), str):
        target: Any = root
        for step in reference.removeprefix("#/").split("/"):
            target = target.get(step, {}) if isinstance(target, Mapping) else {}
        return _matches(value, target, root)
    if choices := schema.get("anyOf"):
        return any(_matches(value, choice, root) for choice in choices)
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds = schema.get("type", [])
    if kinds and not any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return False
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        return all(name in value for name in schema.get("required", [])) and all(
            _matches(item, properties.get(name), root) for name, item in value.items()
        )
    if isinstance(value, list):
        return all(_matches(item, schema.get("items"), root) for item in value)
    return True


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES.get(kind, object))
