"""`create_icdpo_tool`: an aligned answer as a tool for agents."""

from __future__ import annotations

from typing import Any

from langchain_core.tools import StructuredTool
from pydantic import BaseModel, Field

from langchain_icdpo.chat_model.model import ChatICDPO

__all__ = ["create_icdpo_tool"]

_DESCRIPTION = (
    "Answers a question in a helpful, honest, harmless and polite way, in the style of the answers that its "
    "users preferred. Use it where tone or safety matter: advice, delicate subjects, messages to people."
)


class _Arguments(BaseModel):
    question: str = Field(description="The whole question, with everything that the answer needs.")


def create_icdpo_tool(
    chat: ChatICDPO | None = None,
    *,
    name: str = "aligned_answer",
    description: str = _DESCRIPTION,
    **settings: Any,
) -> StructuredTool:
    """Returns a tool that answers by ICDPO.

    The content of its message is the answer. The artifact is the table of candidates, scores and
    demonstrations that `ChatICDPO` has in `response_metadata["icdpo"]`. The call is not a run of a chat
    model, so a stream of the agent's messages does not show its answer as a message of the agent.

    Args:
        chat: provides core and settings; by default a `ChatICDPO` with the `settings`.
        name: the tool's name for the agent's model.
        description: tells the agent's model when to use the tool.
        settings: the settings of the default `ChatICDPO`.

    Raises:
        ValueError: both `settings` and `chat` are given.
    """
    if chat is not None and settings:
        raise ValueError(f"{', '.join(settings)} and chat are both given: set them in the chat model instead")
    model = chat or ChatICDPO(**settings)

    def answer(question: str) -> tuple[str, dict[str, Any]]:
        message = model._answer(question, None, None, {})
        return message.text, message.response_metadata["icdpo"]

    async def aanswer(question: str) -> tuple[str, dict[str, Any]]:
        message = await model._aanswer(question, None, None, {})
        return message.text, message.response_metadata["icdpo"]

    return StructuredTool.from_function(
        answer,
        aanswer,
        name=name,
        description=description,
        args_schema=_Arguments,
        response_format="content_and_artifact",
    )
