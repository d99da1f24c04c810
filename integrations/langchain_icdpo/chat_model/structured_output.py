"""Structured output: JSON that fits a schema, requested by an instruction or as a tool call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableLambda, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.tool_calls.json_text import read_json, without_fence

__all__ = ["JsonAnswer", "structured"]

_METHODS = ("json_schema", "function_calling", "json_mode")
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
        found = map(_object, texts)
        return [
            item is not None and (self._schema is None or _matches(item[1], self._schema, self._schema))
            for item in found
        ]

    def fields(self, text: str) -> dict[str, Any]:
        """Returns the JSON alone as the content, without the text around it."""
        found = _object(text)
        return {"content": text if found is None else found[0]}


def structured(
    chat: BaseChatModel,
    schema: Any,
    method: str,
    *,
    include_raw: bool,
    strict: bool | None,
    options: Mapping[str, Any],
) -> Runnable[Any, Any]:
    """Builds the result of `ChatICDPO.with_structured_output`.

    Raises:
        ValueError: the method or an option is unknown, or there is no schema.
    """
    if method not in _METHODS or options:
        raise ValueError(
            f"with_structured_output(method={method!r}, {', '.join(options)}) is unknown: use method= one of "
            f"{', '.join(map(repr, _METHODS))}, and include_raw or strict"
        )
    pydantic = isinstance(schema, type) and is_basemodel_subclass(schema)
    traced = {"kwargs": {"method": method}, "schema": schema}
    parser: Runnable[Any, Any]
    if method == "function_calling":
        name = convert_to_openai_tool(schema)["function"]["name"]
        model: Runnable[Any, Any] = chat.bind_tools(
            [schema], tool_choice=name, strict=strict, ls_structured_output_format=traced
        )
        parser = RunnableLambda(_called, name="tool_called") | (
            PydanticToolsParser(tools=[schema], first_tool_only=True)
            if pydantic
            else JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
        )
    else:
        plain = None if schema is None and method == "json_mode" else convert_to_json_schema(schema)
        wanted: dict[str, Any] = {"type": "json_object", "schema": plain}
        if plain is not None and method == "json_schema":
            wanted = {"type": "json_schema", "json_schema": {"name": plain["title"], "schema": plain}}
        model = chat.bind(response_format=wanted, ls_structured_output_format=traced)
        parser = RunnableLambda(_json_answer, name="json_answer") | (
            PydanticOutputParser(pydantic_object=schema) if pydantic else JsonOutputParser()
        )
    if not include_raw:
        return model | parser
    parsed = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=RunnableLambda(_no_error)
    ).with_fallbacks(
        [RunnablePassthrough.assign(parsed=RunnableLambda(_no_error))], exception_key="parsing_error"
    )
    return RunnableMap(raw=model) | parsed


def _no_error(_: Any) -> None:
    return None


def _called(message: AIMessage) -> AIMessage:
    # LangChain's parsers return None for a message without a call; a caller may take None for a result.
    if not message.tool_calls:
        raise OutputParserException(
            "no candidate calls the tool: sample more candidates (n), use a model trained to call "
            "tools, or method='json_schema'",
            llm_output=message.text,
        )
    return message


def _json_answer(message: AIMessage) -> AIMessage:
    # LangChain's parsers repair broken JSON in quadratic time and fail with RecursionError on deep JSON.
    if _object(message.text) is None:
        try:
            read_json(without_fence(message.text.strip()))
        except ValueError as error:
            raise OutputParserException(
                f"no candidate is JSON ({error}): sample more candidates (n) or longer ones (max_tokens)",
                llm_output=message.text,
            ) from None
    return message


def _object(text: str) -> tuple[str, dict[str, Any]] | None:
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
