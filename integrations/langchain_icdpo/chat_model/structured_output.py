"""Structured output: JSON that fits a schema, requested by an instruction or as a tool call."""

from __future__ import annotations

from collections.abc import Mapping
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

from icdpo_chains.tool_calls.json_answer import object_in
from icdpo_chains.tool_calls.json_text import read_json, without_fence

__all__ = ["structured"]

_METHODS = ("json_schema", "function_calling", "json_mode")


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
    if object_in(message.text) is None:
        try:
            read_json(without_fence(message.text.strip()))
        except ValueError as error:
            raise OutputParserException(
                f"no candidate is JSON ({error}): sample more candidates (n) or longer ones (max_tokens)",
                llm_output=message.text,
            ) from None
    return message
