"""The layout of a conversation and its demonstrations: `ChatFormat` and `PlainFormat`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from icdpo_chains.errors import PromptError
from icdpo_chains.messages import Message
from icdpo_chains.prompts.chat_format import ChatFormat, Shown
from icdpo_chains.prompts.encoding import TextEncoder
from icdpo_chains.prompts.template_layouts import without_system
from icdpo_chains.prompts.thinking import Thinking

__all__ = [
    "ChatFormat",
    "PlainFormat",
    "PlainTemplate",
    "PromptFormat",
    "Shown",
    "Template",
    "prompt_format",
    "takes_tools",
    "with_template_kwargs",
    "with_tools",
]


class PromptFormat(Protocol):
    """Lays out contexts and answers as token ids.

    Attributes:
        stop: strings that end an answer besides the model's own end token.
    """

    stop: tuple[str, ...]

    def context(
        self, conversation: Sequence[Message], shown: Sequence[Shown], instruction: str | None
    ) -> list[int]:
        """Returns the ids of instruction, demonstrations (in this order) and conversation."""
        ...

    def answer(self, text: str, *, ended: bool) -> list[int]:
        """Returns the ids of an answer that follows a context, with the end token if it `ended`."""
        ...

    def answer_text(self, text: str) -> str:
        """Returns the answer in the text that a policy sampled after a context."""
        ...

    def answer_so_far(self, text: str) -> str:
        """Returns the beginning of the answer in the beginning of a sampled text."""
        ...


# Every character at which `str.splitlines` breaks a line.
_LINE_BREAKS = "\\n\\r\\v\\f\\x1c-\\x1e\\x85\\u2028\\u2029"


class Template(Protocol):
    """The wording of `PlainFormat`; write your own for the exact wording of another project.

    Attributes:
        stop: strings at which an answer ends.
        answer_prefix: the text between the rendered context and an answer, usually one space. It belongs to
            the answer's tokens, because a context that ends with a space changes the answer's tokenization.
    """

    stop: tuple[str, ...]
    answer_prefix: str

    def render(self, instruction: str | None, shown: Sequence[Shown], conversation: Sequence[Message]) -> str:
        """Returns the text up to the start of the answer."""
        ...


@dataclass(frozen=True)
class PlainTemplate:
    """The wording for base models: a heading begins each turn, and a blank line separates demonstrations.

    Attributes:
        user: the heading of a user's turn.
        assistant: the heading of an answer.
        tool: the heading of a tool's result.
    """

    user: str = "User:"
    assistant: str = "Assistant:"
    tool: str = "Tool:"
    answer_prefix: str = " "

    @property
    def stop(self) -> tuple[str, ...]:
        """The next turn's heading."""
        return (f"\n{self.user}",)

    def render(self, instruction: str | None, shown: Sequence[Shown], conversation: Sequence[Message]) -> str:
        """Returns the instruction, the demonstrations, system turns, the conversation and `Assistant:`."""
        blocks = [self._escaped(instruction)] if instruction else []
        for prompt, answer in shown:
            turns = [*without_system(prompt), Message("assistant", answer)]
            blocks.append("\n".join(map(self._line, turns)))
        system = [turn.content for turn in conversation if turn.role == "system" and turn.content]
        blocks += map(self._escaped, system)
        turns = [turn for turn in conversation if turn.role != "system"]
        blocks.append("\n".join([*map(self._line, turns), self.assistant]))
        return "\n\n".join(blocks)

    def _line(self, turn: Message) -> str:
        headings = {"user": self.user, "assistant": self.assistant, "tool": self.tool}
        return f"{headings[turn.role]} {self._escaped(turn.text)}"

    def _escaped(self, text: str) -> str:
        """Returns the text with a space before each heading at the start of a line: no text opens a turn."""
        heading = "|".join(map(re.escape, (self.user, self.assistant, self.tool)))
        return re.sub(rf"(^|[{_LINE_BREAKS}])(?={heading})", r"\1 ", text)


class PlainFormat:
    """Running text for models without a chat template.

    Args:
        tokenizer: a Hugging Face tokenizer.
        template: the wording.
    """

    def __init__(self, tokenizer: Any, template: Template | None = None) -> None:
        self._encoder = TextEncoder(tokenizer)
        self._template = template or PlainTemplate()
        self.stop = self._template.stop

    def context(
        self, conversation: Sequence[Message], shown: Sequence[Shown], instruction: str | None
    ) -> list[int]:
        """Returns BOS, if the tokenizer uses one, and the ids of the rendered text."""
        text = self._template.render(instruction, shown, conversation)
        return self._encoder.beginning() + self._encoder.text(text)

    def answer(self, text: str, *, ended: bool) -> list[int]:
        """Returns the ids of an answer, with EOS if it `ended`."""
        eos = self._encoder.tokenizer.eos_token_id
        return self._encoder.text(self._template.answer_prefix + text) + (
            [eos] if ended and eos is not None else []
        )

    def answer_text(self, text: str) -> str:
        """Returns the text without the template's answer prefix."""
        return text.removeprefix(self._template.answer_prefix)

    def answer_so_far(self, text: str) -> str:
        """Returns the text without the template's answer prefix; nothing while the prefix may go on."""
        prefix = self._template.answer_prefix
        return "" if prefix.startswith(text) else text.removeprefix(prefix)


def prompt_format(
    tokenizer: Any,
    eos_token_ids: Collection[int] = (),
    chat_template_kwargs: Mapping[str, Any] | None = None,
    thinking: Thinking | None = None,
) -> PromptFormat:
    """Returns the format for a tokenizer: chat if it has a template, otherwise plain.

    Args:
        tokenizer: a Hugging Face tokenizer.
        eos_token_ids: the ids at which the model stops.
        chat_template_kwargs: keywords for the template.
        thinking: whether the model thinks; see `ChatFormat.with_template_kwargs`.

    Raises:
        PromptError: the template does not know a keyword or has no switch, or there is no template for it.
        TypeError, ValueError: `thinking` has another value.
    """
    form = ChatFormat(tokenizer, eos_token_ids) if tokenizer.chat_template else PlainFormat(tokenizer)
    return with_template_kwargs(form, chat_template_kwargs, thinking)


def with_template_kwargs(
    form: PromptFormat, kwargs: Mapping[str, Any] | None, thinking: Thinking | None = None
) -> PromptFormat:
    """Returns a format with keywords for its chat template; see `ChatFormat.with_template_kwargs`.

    Raises:
        PromptError: the template does not know a keyword or has no switch, or the format has no template.
        TypeError, ValueError: `thinking` has another value.
    """
    if not kwargs and thinking is None:
        return form
    if not isinstance(form, ChatFormat):
        given = f"thinking={thinking}" if not kwargs else f"the chat_template_kwargs {dict(kwargs)!r:.80}"
        raise PromptError(
            f"{type(form).__name__} has no chat template for {given}: leave this out, or use a model whose "
            "tokenizer has a chat template"
        )
    return form.with_template_kwargs(kwargs, thinking)


def with_tools(form: PromptFormat, tools: Sequence[Mapping[str, Any]]) -> PromptFormat:
    """Returns a format that shows tools to the model.

    Args:
        form: the format.
        tools: the tools in OpenAI's form.

    Raises:
        PromptError: the format has no place for tools.
    """
    if not isinstance(form, ChatFormat):
        raise PromptError(
            f"{type(form).__name__} has no place for tools, and the model would not see them: use a model "
            "whose tokenizer has a chat template for tools, or leave the tools out"
        )
    return form.with_tools(tools)


def takes_tools(form: PromptFormat) -> bool:
    """Whether a format can show tools to the model."""
    return isinstance(form, ChatFormat) and form.takes_tools
