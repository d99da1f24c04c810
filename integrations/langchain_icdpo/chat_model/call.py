"""`Call`: one call of `ChatICDPO`; its own settings override the model's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.messages import AIMessage

from icdpo_chains.framework_settings import CALL_SETTINGS, ICDPOSettings
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.messages import Message
from icdpo_chains.prompts.formats import with_tools
from icdpo_chains.result import ICDPOResult
from icdpo_chains.tool_calls.json_answer import JsonAnswer
from langchain_icdpo.chat_model.answer import as_ai_message
from langchain_icdpo.chat_model.tool_calls import ToolUse

__all__ = ["Call", "Wanted"]

# The last two belong to LangChain and do not affect the answer.
_OTHERS = (
    "exclude",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "stream",
    "ls_structured_output_format",
)


class Wanted(Protocol):
    """A required form of the answer: a tool call, or JSON.

    Attributes:
        instruction: the instruction for the model, as a system message; `None` for no message.
    """

    @property
    def instruction(self) -> str | None: ...  # noqa: D102

    def fitting(self, texts: Sequence[str]) -> list[bool]:
        """Returns for each candidate whether it has the form."""
        ...

    def fields(self, text: str) -> dict[str, Any]:
        """Returns the fields of a candidate's message."""
        ...


@dataclass(frozen=True)
class Call:
    """One question and the settings of its answer.

    Attributes:
        icdpo: samples and scores the answers.
        conversation: the question.
        options: the options of `ICDPO.generate`.
        wanted: the required form of the answer, if there is one.
    """

    icdpo: ICDPO
    conversation: tuple[Message, ...]
    options: dict[str, Any]
    wanted: Wanted | None = None

    @classmethod
    def prepared(
        cls, settings: ICDPOSettings, conversation: tuple[Message, ...], given: Mapping[str, Any]
    ) -> Call:
        """Builds a call.

        Args:
            settings: the settings of the chat model.
            conversation: the question.
            given: the settings of this call, which override them.

        Raises:
            PromptError: tools are given, and the model's prompt format can't show them.
            TypeError: a call does not take one of the settings.
            ValueError: a setting is out of range.
        """
        unknown = [name for name in given if name not in CALL_SETTINGS and name not in _OTHERS]
        if unknown:
            raise TypeError(
                f"a call of ChatICDPO takes no {', '.join(map(repr, unknown))}: it takes "
                f"{', '.join((*CALL_SETTINGS, *_OTHERS))}; give settings of the model to ChatICDPO itself"
            )
        icdpo = settings.core
        answer = given.get("response_format") and JsonAnswer.from_response_format(given["response_format"])
        wanted: Wanted | None = answer
        choice = given.get("tool_choice") or "auto"
        if given.get("tools") and choice != "none":
            icdpo = cls.with_tools(icdpo, given["tools"])
            parallel = given.get("parallel_tool_calls") is not False
            wanted = ToolUse(given["tools"], choice, parallel=parallel, answer=answer)
        if wanted is not None and wanted.instruction is not None:
            conversation = (Message("system", wanted.instruction), *conversation)
        return cls(icdpo, conversation, settings.options(given), wanted)

    @staticmethod
    def with_tools(icdpo: ICDPO, tools: Sequence[dict[str, Any]]) -> ICDPO:
        """Returns an ICDPO whose contexts show tools to the model.

        Raises:
            PromptError: the prompt format has no place for tools.
        """
        return icdpo.with_format(with_tools(icdpo.format, tools))

    def message(self, result: ICDPOResult) -> AIMessage:
        """Returns the best candidate with the required form, or the best of all if no candidate has it."""
        if self.wanted is None:
            return as_ai_message(result)
        winner = result.best_fitting(self.wanted.fitting)
        return as_ai_message(result, winner, **self.wanted.fields(winner.text))
