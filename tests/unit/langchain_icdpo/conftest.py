"""Cores without weights: a policy that gives prepared answers, one that samples, and one that calls tools."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.globals import set_llm_cache

from icdpo_chains import ICDPO, DemonstrationStore, FakeEmbedder, TwoStageRetriever

from ..fake_core import DEMONSTRATIONS, make_core


@pytest.fixture
def core() -> ICDPO:
    return make_core()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DemonstrationStore]:
    with DemonstrationStore(tmp_path / "store", embedder=FakeEmbedder()) as filled:
        filled.add(DEMONSTRATIONS)
    with DemonstrationStore(tmp_path / "store", embedder=FakeEmbedder(), read_only=True) as opened:
        yield opened


@pytest.fixture
def core_on_store(store: DemonstrationStore) -> ICDPO:
    return make_core(retriever=TwoStageRetriever(store, k=2, require_rejected=True))


@pytest.fixture(autouse=True)
def no_cache() -> Iterator[None]:
    yield
    set_llm_cache(None)


def call_tools(context: str) -> Sequence[str]:
    """What a model that was trained to call tools would say, by rules; the second candidate is chatter."""
    turns = re.findall(r"<\|im_start\|>(\w+)\n(.*?)(?:<\|im_end\|>|\Z)", context, re.DOTALL)
    asked = [content for role, content in turns[:-1] if role == "user"][-1]
    tools = [
        json.loads(line)["function"]
        for role, content in turns
        if role == "system" and content.startswith("Tools:")
        for line in content.splitlines()[1:]
    ]
    if "JSON" in context and not tools:
        return [
            "A joke? Certainly!",
            '{"setup": "Why do cats purr?", "punchline": "They are paid by the hour."}',
        ]
    if not tools or turns[-2][0] == "tool":
        return ["Hello, what can I do for you?", "Hi."]
    named = re.search(r"by calling the tool (\w+)", context)
    tool = next((tool for tool in tools if named and tool["name"] == named[1]), tools[0])
    properties = tool.get("parameters", {}).get("properties", {})
    arguments = {name: _argument(schema, asked) for name, schema in properties.items()}
    call = json.dumps({"name": tool["name"], "arguments": arguments}, ensure_ascii=False)
    return ["Let me think about that.", f"<tool_call>\n{call}\n</tool_call>"]


def _argument(schema: dict[str, Any], asked: str) -> Any:
    numbers, quoted = re.findall(r"\d+", asked), re.findall(r"'(.+?)'", asked)
    if schema.get("type") == "integer":
        return int(numbers[0]) if numbers else 1
    return quoted[0] if quoted else asked.split()[-2]
