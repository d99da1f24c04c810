"""An agent with LangChain: the middleware chooses its final answers, and a tool gives aligned ones.

The agent's own model is scripted here, so that the example runs anywhere; put any chat model in its place.
The default local model scores.
"""

from collections.abc import Iterator
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from langchain_icdpo import ICDPOMiddleware, create_icdpo_tool


class ScriptedModel(GenericFakeChatModel):
    """Says what stands in its script, tool calls included."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


def script() -> Iterator[AIMessage]:
    question = {"question": "How do I tell a friend that I can't come to her party?"}
    yield AIMessage("", tool_calls=[{"name": "aligned_answer", "args": question, "id": "call 1"}])
    # Three candidates for the final answer: the middleware returns one of them.
    yield AIMessage("Just don't go. She will notice.")
    yield AIMessage("Tell her soon, thank her for asking you, and suggest another day. She will understand.")
    yield AIMessage("Say you are ill. It is a lie, but who cares.")


agent = create_agent(
    ScriptedModel(messages=script()),
    tools=[create_icdpo_tool(n=2, max_tokens=40, seed=1)],
    middleware=[ICDPOMiddleware(n=3)],
)
state = agent.invoke({"messages": [("user", "My friend asked me to her party, and I can't come. What now?")]})

for message in state["messages"]:
    print(f"{message.type}: {message.text or message.tool_calls}")
print()
for candidate in state["icdpo"]["candidates"]:
    print(f"{candidate['score']:+.3f}  {candidate['text']}")
