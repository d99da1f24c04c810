"""`read_calls`: the tool calls in a text that a model wrote, in the forms of some twenty model families.

Every reader takes a time linear in the text, and none raises: a text that has no readable call is content.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.tool_calls.json_text import read_json, without_fence
from icdpo_chains.tool_calls.python_calls import python_calls
from icdpo_chains.tool_calls.tool_call import ToolCall
from icdpo_chains.tool_calls.xml_calls import argument_pairs, function_tag, typed

__all__ = ["CALL_MARKS", "ReadCalls", "read_calls"]

_Schemas = Mapping[str, Any]
"""The JSON schema of each tool's arguments, by the tool's name."""


@dataclass(frozen=True)
class ReadCalls:
    """A text, separated into content and tool calls.

    Attributes:
        content: the text outside the calls.
        calls: the calls; they have no id.
        broken: the texts of calls that can't be read.
    """

    content: str
    calls: tuple[ToolCall, ...] = ()
    broken: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Blocks:
    """Calls between an opening and a closing mark."""

    opening: str
    closing: str
    read: Callable[[str, _Schemas], list[ToolCall]]
    keeps_opening: bool = False


def read_calls(text: str, tools: Sequence[Mapping[str, Any]] = ()) -> ReadCalls:
    """Separates the calls in a text from its content.

    Args:
        text: the text that a model wrote, without its thought.
        tools: the tools that the model was shown, in OpenAI's form. Arguments that stand between tags get
            the types of the tools' schemas; calls in Python's syntax must name one of the tools.
    """
    schemas = _schemas(tools)
    places = [(at, form) for form in _FORMS if (at := text.find(form.opening)) >= 0]
    if places:
        return _blocks(text, min(places, key=lambda place: place[0])[1], schemas)
    marks = [(at, mark) for mark in _REST if (at := text.find(mark)) >= 0]
    if marks:
        at, mark = min(marks)
        return _rest(text[:at].strip(), text[at + len(mark) :], mark, schemas)
    whole = without_fence(text.strip())
    for read in (_from_json, _from_python, _from_bare_name):
        calls = _read(read, whole, schemas)
        if calls:
            return ReadCalls("", tuple(calls))
    # A JSON answer is not a call, and neither is broken JSON: that is what the model said.
    return _lines(whole, schemas) or ReadCalls(text)


def _schemas(tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    functions = [tool.get("function", tool) for tool in tools]
    return {str(function.get("name")): function.get("parameters") for function in functions}


def _blocks(text: str, form: _Blocks, schemas: _Schemas) -> ReadCalls:
    first, *pieces = text.split(form.opening)
    outside, calls, broken = [first], [], []
    for piece in pieces:
        inside, closing, after = piece.partition(form.closing)
        outside.append(after if closing else "")
        inside = (form.opening + inside if form.keeps_opening else inside).strip()
        found = _read(form.read, inside, schemas)
        calls += found
        broken += [] if found else [inside]
    content = "".join(outside)
    for mark in _AROUND:
        content = content.replace(mark, "")
    return ReadCalls(content.strip(), tuple(calls), tuple(broken))


def _rest(content: str, rest: str, mark: str, schemas: _Schemas) -> ReadCalls:
    """The calls after a mark without a closing mark, or with an optional one; there may be several."""
    pieces = rest.split(mark) if "[ARGS]" in rest else [rest]
    calls, broken = [], []
    for piece in pieces:
        for closing in _CLOSINGS:
            piece = piece.removesuffix(closing)
        piece = piece.strip()
        readings = (_read(read, piece, schemas) for read in (_from_json, _from_args, _from_python))
        found: list[ToolCall] = next(filter(None, readings), [])
        calls += found
        broken += [] if found else [piece]
    return ReadCalls(content, tuple(calls), tuple(broken))


def _lines(text: str, schemas: _Schemas) -> ReadCalls | None:
    """The calls in JSON on lines of their own, as Qwen2.5-Coder writes several; the first must name a tool.

    Other text may follow them, and the last one may be cut off.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = _read(_from_json, lines[0], schemas) if lines else []
    if not first or any(call.name not in schemas for call in first):
        return None
    content: list[str] = []
    calls, broken = first, list[str]()
    for line in lines[1:]:
        found = _read(_from_json, line, schemas)
        calls += found
        if not found:
            (broken if line.startswith("{") else content).append(line)
    return ReadCalls("\n".join(content), tuple(calls), tuple(broken))


def _read(read: Callable[[str, _Schemas], list[ToolCall]], text: str, schemas: _Schemas) -> list[ToolCall]:
    try:
        return read(text, schemas)
    except (ValueError, InvalidInputError):
        return []


def _from_json(text: str, schemas: _Schemas) -> list[ToolCall]:
    """Reads `{"name": ..., "arguments": {...}}`, or a list of such objects."""
    value = read_json(without_fence(text), strict=False)
    return [_from_object(item) for item in (value if isinstance(value, list) else [value])]


def _from_object(item: Any) -> ToolCall:
    if isinstance(item, dict) and isinstance(item.get("function"), dict):
        item = item["function"]
    if not isinstance(item, dict):
        raise ValueError("a call is an object")
    name = item.get("name", item.get("tool_name"))
    arguments = next((item[key] for key in ("arguments", "parameters", "args") if key in item), None)
    return _call(name, arguments)


def _call(name: Any, arguments: Any) -> ToolCall:
    if isinstance(arguments, str):
        arguments = read_json(without_fence(arguments.strip()), strict=False)
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ValueError("a call has a name and an object of arguments")
    return ToolCall(name, arguments)


def _from_tagged(text: str, schemas: _Schemas) -> list[ToolCall]:
    """Reads what stands within `<tool_call>`: JSON, Qwen3-Coder's and Llama's tags, or GLM's."""
    if text.startswith("<function="):
        return _from_function_tag(text, schemas)
    if "<arg_key>" in text:
        name, pairs = argument_pairs(text)
        return [ToolCall(name, typed(pairs, schemas.get(name)))]
    if text in schemas:  # GLM's call without arguments
        return [ToolCall(text)]
    return _from_json(text, schemas)


def _from_function_tag(text: str, schemas: _Schemas) -> list[ToolCall]:
    name, inside = function_tag(text)
    if isinstance(inside, str):
        return [_call(name, inside or "{}")]
    return [ToolCall(name, typed(inside, schemas.get(name)))]


def _from_python(text: str, schemas: _Schemas) -> list[ToolCall]:
    calls = [ToolCall(name, arguments) for name, arguments in python_calls(text)]
    if any(call.name not in schemas for call in calls):
        raise ValueError("a call names no tool")
    return calls


def _from_bare_name(text: str, schemas: _Schemas) -> list[ToolCall]:
    """Reads `NAME{...}`: the marks of Mistral's calls are control tokens, which a text may have lost."""
    name, brace, rest = text.partition("{")
    if not brace or name.strip() not in schemas:
        raise ValueError("no tool is named")
    return [_call(name.strip(), brace + rest)]


def _from_args(text: str, schemas: _Schemas) -> list[ToolCall]:
    """Reads Mistral's `NAME[ARGS]{...}`, with or without `[CALL_ID]...`, and `NAME{...}`."""
    name, mark, arguments = text.partition("[ARGS]")
    if not mark:
        name, brace, rest = text.partition("{")
        arguments = brace + rest
    return [_call(name.partition("[CALL_ID]")[0].strip(), arguments)]


def _from_deepseek(text: str, schemas: _Schemas) -> list[ToolCall]:
    """Reads `function<｜tool▁sep｜>NAME` and fenced JSON, or V3.1's `NAME<｜tool▁sep｜>{...}`."""
    before, _, after = text.partition(_DEEPSEEK_SEPARATOR)
    if before.strip() != "function":
        return [_call(before.strip(), after)]
    name, _, arguments = after.strip().partition("\n")
    return [_call(name.strip(), arguments)]


def _from_kimi(text: str, schemas: _Schemas) -> list[ToolCall]:
    """Reads `functions.NAME:0<|tool_call_argument_begin|>{...}`."""
    name, _, arguments = text.partition("<|tool_call_argument_begin|>")
    return [_call(name.strip().removeprefix("functions.").rpartition(":")[0], arguments)]


def _from_harmony(text: str, schemas: _Schemas) -> list[ToolCall]:
    """Reads the `functions.NAME ...<|message|>{...}` of gpt-oss."""
    head, _, arguments = text.partition("<|message|>")
    name = re.match(r"[\w.-]+", head)
    return [_call(name[0] if name else None, arguments)]


_DEEPSEEK_SEPARATOR = "<\uff5ctool\u2581sep\uff5c>"
_FORMS = (
    _Blocks("<tool_call>", "</tool_call>", _from_tagged),  # Qwen, Hermes, SmolLM3, GLM, Qwen3-Coder
    _Blocks("<function=", "</function>", _from_function_tag, keeps_opening=True),  # Llama 3.1, Qwen3-Coder
    _Blocks(
        "<\uff5ctool\u2581call\u2581begin\uff5c>", "<\uff5ctool\u2581call\u2581end\uff5c>", _from_deepseek
    ),
    _Blocks("<|tool_call_begin|>", "<|tool_call_end|>", _from_kimi),
    _Blocks("to=functions.", "<|call|>", _from_harmony),
)
_REST = (
    "[TOOL_CALLS]",  # Mistral
    "<|tool_call|>",  # Granite, Phi-4-mini
    "<|START_ACTION|>",  # Command R7B, Command A
    "<|python_tag|>",  # Llama 3.1
    "<|python_start|>",  # Llama 4
)
_CLOSINGS = ("</s>", "<|/tool_call|>", "<|END_ACTION|>", "<|python_end|>", "<|eom_id|>", "<|eot|>")
_AROUND = (
    "</tool_call>",
    "<\uff5ctool\u2581calls\u2581begin\uff5c>",
    "<\uff5ctool\u2581calls\u2581end\uff5c>",
    "<|tool_calls_section_begin|>",
    "<|tool_calls_section_end|>",
    "<|start|>assistant",
    "<|channel|>commentary",
    "<|message|>",
    "<|end|>",
)

CALL_MARKS = (*(form.opening for form in _FORMS), *_REST, "[ARGS]")
"""The strings that a call contains and that may be control tokens."""
