"""An agent's second step: calls and results go back into the chat templates of the model families."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool

from icdpo_chains import ICDPO, FakePolicy, FixedDemonstrations, SamplingParams
from langchain_icdpo import ChatICDPO

from ...fake_core import DEMONSTRATIONS
from ...prompts.templates import family_tokenizer

BODY = '{"place": "Oslo"}'
CALLS = {
    "glm4": "<tool_call>weather\n<arg_key>place</arg_key>\n<arg_value>Oslo</arg_value>\n</tool_call>",
    "gpt_oss": f"<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{BODY}<|call|>",
    "granite3": f'<|tool_call|>[{{"name": "weather", "arguments": {BODY}}}]',
    "llama3": f'{{"name": "weather", "parameters": {BODY}}}',
    "mistral": f'[TOOL_CALLS][{{"name": "weather", "arguments": {BODY}}}]',
    "qwen3": f'<tool_call>\n{{"name": "weather", "arguments": {BODY}}}\n</tool_call>',
    "qwen3_coder": "<tool_call>\n<function=weather>\n<parameter=place>\nOslo\n</parameter>\n</function>\n</tool_call>",
    "smollm3": f'<tool_call>\n{{"name": "weather", "arguments": {BODY}}}\n</tool_call>',
}


@tool
def weather(place: str) -> str:
    """Tells the weather."""
    return f"Rain in {place}: 4 mm."


class FamilyPolicy(FakePolicy):
    """Answers with a family's tokens: its control tokens are such, as a real model samples them."""

    def __init__(self, family: str, respond: Any) -> None:
        super().__init__(respond)
        self.tokenizer = family_tokenizer(family)
        self.eos_token_ids = frozenset({self.tokenizer.eos_token_id})

    def _given(self, context: Any, text: str, sampling: SamplingParams) -> Any:
        sample = super()._given(context, "x", sampling)
        ids = tuple(self.tokenizer(text, add_special_tokens=False).input_ids) + sample.token_ids[-1:]
        logprobs = tuple(self.logprobs(context, [ids])[0])
        return type(sample)(ids, logprobs, self.tokenizer.decode(ids, skip_special_tokens=True), "stop")


@pytest.mark.parametrize("family", CALLS)
def test_an_agent_takes_its_second_step(family: str) -> None:
    seen: list[str] = []

    def respond(context: str) -> list[str]:
        seen.append(context)
        return ["It rains." if "Rain in Oslo" in context else CALLS[family]]

    icdpo = ICDPO(
        FamilyPolicy(family, respond),
        FixedDemonstrations(DEMONSTRATIONS, k=1),
        n=1,
        sampling=SamplingParams(max_new_tokens=400),
    )
    agent = create_agent(ChatICDPO(icdpo=icdpo), [weather])
    messages = agent.invoke({"messages": [("user", "How is the weather in Oslo?")]})["messages"]
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert [(call["name"], call["args"]) for call in messages[1].tool_calls] == [
        ("weather", json.loads(BODY))
    ]
    assert messages[1].text == ""
    assert messages[-1].text == "It rains."
    assert len(seen) == 2
    assert seen[1].count("weather") > seen[0].count("weather")  # the call and its result are shown
