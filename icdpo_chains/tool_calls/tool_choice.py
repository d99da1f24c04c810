"""`ToolChoice`: decides which of several answers call the right tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from icdpo_chains.tool_calls.reading import ReadCalls, read_calls
from icdpo_chains.tool_calls.tool_call import ToolCall

__all__ = ["ToolChoice"]


class ToolChoice:
    """The tools that a model may or must call.

    With the choice `"auto"`, the majority of the candidates decides whether to call a tool, and a tie calls
    it. Scores can't compare a call with an answer, because demonstrations show only answers.

    Args:
        tools: the tools in OpenAI's form.
        choice: `"auto"`, `"any"` or the name of a tool.
        parallel: allow several calls in one answer.
        is_answer: whether a text without a call has the required form of an answer; by default any text.
    """

    def __init__(
        self,
        tools: Sequence[Mapping[str, Any]],
        choice: str = "auto",
        *,
        parallel: bool = True,
        is_answer: Callable[[str], bool] = lambda text: True,
    ) -> None:
        self._required = {
            tool["function"]["name"]: tool["function"].get("parameters", {}).get("required", [])
            for tool in tools
        }
        self._tools = list(tools)
        self._choice = choice
        self._parallel = parallel
        self._is_answer = is_answer

    @property
    def instruction(self) -> str | None:
        """Asks the model for a call: chat templates have no place for `tool_choice`."""
        if self._choice == "auto":
            return None
        which = "one of the tools" if self._choice == "any" else f"the tool {self._choice}"
        return f"Answer by calling {which}, and with nothing else."

    def fitting(self, texts: Sequence[str]) -> list[bool]:
        """Returns for each candidate whether it has the form."""
        makes_call = [self._makes_call(text) for text in texts]
        answers = [self._answers(text) for text in texts]
        called = self._choice != "auto" or 0 < sum(makes_call) >= sum(answers)
        return makes_call if called else answers

    def read(self, text: str) -> ReadCalls:
        """Separates the calls in a text from its content."""
        return read_calls(text, self._tools)

    def _makes_call(self, text: str) -> bool:
        """Whether there is a call, and all calls are valid and are of the chosen tools."""
        read = self.read(text)
        if not read.calls or read.broken or (len(read.calls) > 1 and not self._parallel):
            return False
        chosen = ("auto", "any")
        return all(self._complete(call) and self._choice in (*chosen, call.name) for call in read.calls)

    def _answers(self, text: str) -> bool:
        read = self.read(text)
        return not read.calls and not read.broken and self._is_answer(text)

    def _complete(self, call: ToolCall) -> bool:
        required = self._required.get(call.name)
        return required is not None and all(name in call.arguments for name in required)
