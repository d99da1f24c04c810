"""Calls with arguments between tags, as Qwen3-Coder and GLM-4.5 write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from icdpo_chains.tool_calls.json_text import read_json

__all__ = ["argument_pairs", "function_tag", "typed"]

_KEY, _KEY_END, _VALUE, _VALUE_END = "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"


def function_tag(text: str) -> tuple[str, list[tuple[str, str]] | str]:
    """Returns the name of the call `<function=NAME>...</function>`, and what stands inside.

    Qwen3-Coder writes `<parameter=NAME>VALUE</parameter>`: these are returned as pairs. Llama writes JSON:
    the text is returned.

    Raises:
        ValueError: the text is something else.
    """
    head, tag, rest = text.partition("<function=")
    name, end, body = rest.partition(">")
    if head.strip() or not tag or not end or not name.strip():
        raise ValueError("this is not a <function=NAME> tag")
    body = body.rpartition("</function>")[0] or body
    first, *pieces = body.split("<parameter=")
    if not pieces:
        return name.strip(), first.strip()
    if first.strip():
        raise ValueError("text stands before the first parameter")
    return name.strip(), list(_parameters(pieces))


def _parameters(pieces: list[str]) -> Iterator[tuple[str, str]]:
    for piece in pieces:
        name, end, value = piece.partition(">")
        if not end:
            raise ValueError("a <parameter=NAME> tag has no end")
        # The value itself may contain the closing tag's text; the last one closes it.
        value = value.rpartition("</parameter>")[0] or value
        yield name.strip(), value.removeprefix("\n").removesuffix("\n")


def argument_pairs(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Returns the name and the arguments of the call `NAME <arg_key>K</arg_key><arg_value>V</arg_value>...`.

    Raises:
        ValueError: the text is something else.
    """
    head, *pieces = text.split(_KEY)
    name = head.strip()
    if not name or len(name.split()) > 1 or not pieces:
        raise ValueError("this is not a call with <arg_key> tags")
    pairs = []
    for piece in pieces:
        key, end, rest = piece.partition(_KEY_END)
        before, opening, value = rest.partition(_VALUE)
        if not end or not opening or before.strip():
            raise ValueError("an <arg_key> has no <arg_value>")
        pairs.append((key.strip(), value.partition(_VALUE_END)[0]))
    return name, pairs


def typed(pairs: list[tuple[str, str]], parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns arguments that were written as texts, in the types of the tool's JSON schema.

    Args:
        pairs: names and texts.
        parameters: the JSON schema; without one, all arguments are texts.
    """
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    fields = properties if isinstance(properties, Mapping) else {}
    return {name: _typed(text, fields.get(name)) for name, text in pairs}


def _typed(text: str, schema: object) -> Any:
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if not isinstance(schema, Mapping) or kind == "string":
        return text
    if isinstance(kind, list) and "string" in kind and text.strip() != "null":
        return text
    lowered = text.strip()
    words = {"True": True, "False": False, "None": None}
    if lowered in words:
        return words[lowered]
    try:
        return read_json(lowered, strict=False)
    except ValueError:
        return text
