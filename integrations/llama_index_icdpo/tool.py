"""`create_icdpo_tool`: an aligned answer as a tool for agents."""

from __future__ import annotations

from typing import Any

from llama_index.core.tools import FunctionTool

from icdpo_chains.result import ICDPOResult
from llama_index_icdpo.llm import ICDPOLLM

__all__ = ["create_icdpo_tool"]

_DESCRIPTION = (
    "Answers a question in a helpful, honest, harmless and polite way, in the style of the answers that its "
    "users preferred. Use it where tone or safety matter: advice, delicate subjects, messages to people. The "
    "question must contain everything that the answer needs."
)


def create_icdpo_tool(
    llm: ICDPOLLM | None = None,
    *,
    name: str = "aligned_answer",
    description: str = _DESCRIPTION,
    **settings: Any,
) -> FunctionTool:
    """Returns a tool that answers by ICDPO.

    The content of its output is the answer; `raw_output` is the core's `ICDPOResult` with all candidates.

    Args:
        llm: provides core and settings; by default an `ICDPOLLM` with the `settings`.
        name: the tool's name for the agent's model.
        description: tells the agent's model when to use the tool.
        settings: the settings of the default `ICDPOLLM`.

    Raises:
        ValueError: both `settings` and `llm` are given.
    """
    if llm is not None and settings:
        raise ValueError(f"{', '.join(settings)} and llm are both given: set them in the llm instead")
    model = llm or ICDPOLLM(**settings)

    def answer(question: str) -> ICDPOResult:
        return model.core.generate(question, **model.options())

    async def aanswer(question: str) -> ICDPOResult:
        return await model.core.agenerate(question, **model.options())

    return FunctionTool.from_defaults(answer, async_fn=aanswer, name=name, description=description)
