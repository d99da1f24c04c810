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
    question: str = Field(description="The whole question, with all that is needed to answer it.")


def create_icdpo_tool(
    chat: ChatICDPO | None = None,
    *,
    name: str = "aligned_answer",
    description: str = _DESCRIPTION,
    **settings: Any,
) -> StructuredTool:
    """Returns a tool that answers by ICDPO.

    Its content is the answer, its artifact the table of candidates, scores and demonstrations: what
    `ChatICDPO` has in `response_metadata["icdpo"]`. The call is no chat model run, so that a stream of the
    agent's messages does not show it as if the agent had spoken.

    Args:
        chat: the chat model whose core and settings are used; by default one with the `settings`.
        name: what the agent's model calls it.
        description: tells the agent's model when to use it.
        settings: of `ChatICDPO`, if none was given.

    Raises:
        ValueError: `settings` beside `chat`.
    """
    if chat is not None and settings:
        raise ValueError(
            f"{', '.join(settings)} can't be changed in the chat model that was given: set them there"
        )
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
