"""LangChain's own standard tests on the default model and the starter demonstrations.

Tool calling and structured output run in full in `tests/unit/langchain_icdpo/test_standard.py`, on a policy that
calls tools: the default model's chat template has no place for tools (`ChatICDPO` says so, see below), and at
135 million parameters it does not write JSON to order.
"""

from __future__ import annotations

from pathlib import Path
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

from icdpo_chains import ICDPO, TransformersPolicy
from icdpo_chains.errors import PromptError
from langchain_icdpo import ChatICDPO, DemonstrationRetriever, create_icdpo_tool

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of the standard tests themselves
]


@pytest.fixture(scope="session", autouse=True)
def default_core(policy: TransformersPolicy, starter_store: Path) -> ICDPO:
    _OnDefaultModel.core = ICDPO.from_defaults(policy, store=starter_store)
    return _OnDefaultModel.core


class _OnDefaultModel:
    core: ICDPO

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatICDPO

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"icdpo": self.core, "n": 2, "max_tokens": 12, "seed": 1}

    @property
    def tool_constructor(self) -> BaseTool:
        return create_icdpo_tool(ChatICDPO(**self.chat_model_params))

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"question": "How do I apologise to a friend?"}


class TestChatICDPO(_OnDefaultModel, ChatModelIntegrationTests):
    has_tool_calling = False
    has_structured_output = False
    supports_model_override = False

    def test_its_template_has_no_tools_and_says_so(
        self, model: BaseChatModel, my_adder_tool: BaseTool
    ) -> None:
        with pytest.raises(PromptError, match="chat template has no place for tools"):
            model.bind_tools([my_adder_tool]).invoke("What is 1 + 2?")


class TestTool(_OnDefaultModel, ToolsIntegrationTests):
    pass


class TestDemonstrationRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return DemonstrationRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"retriever": _OnDefaultModel.core.retriever}

    @property
    def retriever_query_example(self) -> str:
        return "How do I apologise to a friend?"
