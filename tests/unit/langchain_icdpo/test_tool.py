"""`create_icdpo_tool`; LangChain's own tests of tools are in `test_standard`."""

from __future__ import annotations

import json

import pytest

from icdpo_chains import ICDPO
from icdpo_chains.errors import InvalidInputError
from langchain_icdpo import ChatICDPO, create_icdpo_tool

from ..fake_core import KIND, RUDE

CALL = {"name": "aligned_answer", "args": {"question": "I lost my keys."}, "id": "1", "type": "tool_call"}


async def test_the_content_is_the_answer_and_the_artifact_the_table(core: ICDPO) -> None:
    tool = create_icdpo_tool(icdpo=core)
    for message in (tool.invoke(CALL), await tool.ainvoke(CALL)):
        assert message.content == KIND
        assert [item["text"] for item in message.artifact["candidates"]] == [KIND, RUDE]
        assert json.dumps(message.artifact)
    assert tool.invoke({"question": "I lost my keys."}) == KIND


def test_it_says_what_it_is_for(core: ICDPO) -> None:
    tool = create_icdpo_tool(ChatICDPO(icdpo=core, n=3), name="ask", description="Asks.")
    assert (tool.name, tool.description) == ("ask", "Asks.")
    assert tool.tool_call_schema.model_json_schema()["required"] == ["question"]  # type: ignore[union-attr]
    assert len(tool.invoke({**CALL, "name": "ask"}).artifact["candidates"]) == 3


def test_bad_input(core: ICDPO) -> None:
    with pytest.raises(InvalidInputError, match="blank"):
        create_icdpo_tool(icdpo=core).invoke({"question": " "})
    with pytest.raises(ValueError, match="n and chat are both given"):
        create_icdpo_tool(ChatICDPO(icdpo=core), n=3)
