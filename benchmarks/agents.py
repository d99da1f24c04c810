"""A tool task in two steps, by the agents of LangChain and LlamaIndex: whether a real model completes it.

    python benchmarks/agents.py model.gguf --n 4 --demonstrations none

The task: find the city of a person, then the weather there. Prints the calls and the answer of each agent.
A GGUF file is computed by llama.cpp, any other model by transformers.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from typing import Any

from icdpo_chains import (
    ICDPO,
    Demonstration,
    FixedDemonstrations,
    InstantScorer,
    LlamaCppPolicy,
    Message,
    TransformersPolicy,
)
from icdpo_chains.tool_calls.tool_call import ToolCall

QUESTION = "Find the city where Maria lives, then get the weather in that city."
SYSTEM = "Use the tools. Call one tool at a time. When you know the answer, say it in one sentence."
CITIES, WEATHER = {"maria": "Oslo"}, {"oslo": "snow, minus 4 degrees"}

ANSWERS = [
    Demonstration("Is Berlin bigger than Paris?", "Yes, by about eight times.", "Look it up yourself."),
    Demonstration("When does the shop close?", "It closes at 6 pm today.", "How should I know?"),
]
CALLS = [
    Demonstration(
        (
            Message("user", "Find the city where Tom lives, then get the weather in that city."),
            Message("assistant", "", (ToolCall("find_city", {"person": "Tom"}),)),
            Message("tool", "Lima"),
            Message("assistant", "", (ToolCall("get_weather", {"city": "Lima"}),)),
            Message("tool", "rain, 18 degrees"),
        ),
        "In Lima, where Tom lives, it rains and it is 18 degrees warm.",
        "No idea.",
    )
]

made: list[tuple[str, str]] = []


def find_city(person: str) -> str:
    """Returns the city where a person lives."""
    made.append(("find_city", person))
    return CITIES.get(str(person).lower(), f"There is no person {person!r}.")


def get_weather(city: str) -> str:
    """Returns today's weather in a city."""
    made.append(("get_weather", city))
    return WEATHER.get(str(city).lower(), f"There is no city {city!r}.")


def langchain_agent(core: ICDPO, options: dict[str, Any]) -> str:
    """Asks LangChain's agent."""
    from langchain.agents import create_agent

    from langchain_icdpo import ChatICDPO

    agent = create_agent(ChatICDPO(icdpo=core, **options), [find_city, get_weather], system_prompt=SYSTEM)
    found = agent.invoke({"messages": [("user", QUESTION)]}, {"recursion_limit": 12})
    return str(found["messages"][-1].text)


def llama_index_agent(core: ICDPO, options: dict[str, Any]) -> str:
    """Asks LlamaIndex's agent."""
    from llama_index.core.agent.workflow import FunctionAgent

    from llama_index_icdpo import ICDPOLLM

    async def asked() -> str:
        model = ICDPOLLM(icdpo=core, **options)
        agent = FunctionAgent(tools=[find_city, get_weather], llm=model, system_prompt=SYSTEM, timeout=3600)
        return str(await agent.run(QUESTION, max_iterations=8))

    return asyncio.run(asked())


def built(policy: Any, demonstrations: str, n: int) -> ICDPO:
    """Returns the ICDPO; without demonstrations, the score compares with the bare conversation."""
    if demonstrations == "none":
        empty = FixedDemonstrations([])
        return ICDPO(policy, empty, InstantScorer("base"), n=n, demonstrations_required=False)
    shown = ANSWERS if demonstrations == "answers" else CALLS
    return ICDPO(policy, FixedDemonstrations(shown, k=len(shown)), n=n)


def main() -> None:
    """Runs both agents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--n", type=int, default=4)
    parser.add_argument("--demonstrations", choices=["none", "answers", "calls"], default="none")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    kind: Any = LlamaCppPolicy if given.model.endswith(".gguf") else TransformersPolicy
    core = built(kind.from_pretrained(given.model), given.demonstrations, given.n)
    options = {"n": given.n, "max_tokens": 96, "seed": given.seed, "temperature": given.temperature}
    agents: list[Callable[[ICDPO, dict[str, Any]], str]] = [langchain_agent, llama_index_agent]
    for agent in agents:
        made.clear()
        began = time.perf_counter()
        try:
            answer = agent(core, options)
        except Exception as error:  # a loop that never ends is a result too
            answer = f"{type(error).__name__}: {error}"
        done = [name for name, _ in made] == ["find_city", "get_weather"] and "snow" in answer.lower()
        print(f"{agent.__name__}: {'completed' if done else 'failed'} in {time.perf_counter() - began:.0f} s")
        print(f"  calls: {made}\n  answer: {answer}")


if __name__ == "__main__":
    main()
