"""LangChain's own standard tests, on a fake policy that calls tools."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import (
    ChatModelIntegrationTests,
    RetrieversIntegrationTests,
    ToolsIntegrationTests,
)
from langchain_tests.unit_tests import ChatModelUnitTests, ToolsUnitTests

from icdpo_chains import FixedDemonstrations
from langchain_icdpo import ChatICDPO, DemonstrationRetriever, create_icdpo_tool

from ...fake_core import DEMONSTRATIONS, make_core
from ..conftest import call_tools

# LangChain's deprecation of its own pydantic.v1 is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


class _OnFakePolicy:
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatICDPO

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"icdpo": make_core(call_tools, tools=True)}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return False  # the model is in this process: another one is another ChatICDPO


class TestChatICDPO(_OnFakePolicy, ChatModelUnitTests):
    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"ICDPO_MODEL": "some/model"}, {}, {"model": "some/model"}


class TestChatICDPOAnswers(_OnFakePolicy, ChatModelIntegrationTests):
    pass


class TestDemonstrationRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return DemonstrationRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"retriever": FixedDemonstrations(DEMONSTRATIONS)}

    @property
    def retriever_query_example(self) -> str:
        return "I lost my keys."


class _OnTool:
    @property
    def tool_constructor(self) -> BaseTool:
        return create_icdpo_tool(ChatICDPO(icdpo=make_core()))

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"question": "I lost my keys."}


class TestTool(_OnTool, ToolsUnitTests):
    pass


class TestToolAnswers(_OnTool, ToolsIntegrationTests):
    pass
