"""The layout of a conversation and its demonstrations: `ChatFormat` and `PlainFormat`."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from icdpo_chains.errors import PromptError
from icdpo_chains.messages import Message
from icdpo_chains.prompts.encoding import TextEncoder

__all__ = ["ChatFormat", "PlainFormat", "PlainTemplate", "PromptFormat", "Shown", "Template", "prompt_format"]

Shown = tuple[Sequence[Message], str]
"""One demonstration in a context: its prompt, and one of its answers."""


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


class ChatFormat:
    """The tokenizer's chat template: demonstrations are earlier turns, the instruction is a system message.

    The conversation's own system messages follow the demonstrations: they concern this conversation, and
    models forget them (such as the documents of a RAG chain) if demonstrations come in between. If the
    template accepts no system message, or none in that place, its text opens the next user turn. If the
    template requires alternating roles, neighbouring turns of one role are joined.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        eos_token_ids: the ids at which the model stops; the id that the template puts after an answer ends an
            answer.

    Raises:
        PromptError: the tokenizer has no chat template.
    """

    stop: tuple[str, ...] = ()

    def __init__(self, tokenizer: Any, eos_token_ids: Collection[int] = ()) -> None:
        if not tokenizer.chat_template:
            raise PromptError("the tokenizer has no chat template: use PlainFormat, or set chat_template")
        self._encoder = TextEncoder(tokenizer)
        self._takes_system = self._renders_system_message([])
        earlier = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hello"}]
        self._takes_late_system = self._renders_system_message(earlier)
        self._end = self._end_of_answer(eos_token_ids)
        self._options: dict[str, Any] = {}

    def with_tools(self, tools: Sequence[Mapping[str, Any]]) -> ChatFormat:
        """Returns the same format with tools that the template shows to the model.

        Args:
            tools: the tools in the form of OpenAI's API, `{"type": "function", "function": {...}}`.

        Raises:
            PromptError: the template has no place for tools.
        """
        if not self._renders_tools():
            raise PromptError(
                "the model's chat template has no place for tools, and the model would not see them: "
                "use a model that was trained to call tools, such as Qwen2.5-Instruct, or leave them out"
            )
        shown = copy.copy(self)
        shown._options = {"tools": list(tools)}
        return shown

    def context(
        self, conversation: Sequence[Message], shown: Sequence[Shown], instruction: str | None
    ) -> list[int]:
        """Returns the ids of instruction, demonstrations and conversation, up to the start of the answer."""
        turns = [Message("system", instruction)] if instruction else []
        for prompt, answer in shown:
            turns += [*_without_system(prompt), Message("assistant", answer)]
        if not self._takes_late_system:
            first = 0 if turns else 1
            conversation = [*conversation[:first], *_without_system(conversation[first:])]
        turns += conversation
        if not self._takes_system:
            turns = _without_system(turns)
        try:
            return self._render(turns)
        except PromptError:
            joined = _joined(_without_system(turns))
            if joined == turns:
                raise
            return self._render(joined)

    def answer(self, text: str, *, ended: bool) -> list[int]:
        """Returns the ids of an answer, with the template's end of turn if it `ended`."""
        return self._encoder.text(text) + (self._end if ended else [])

    def answer_text(self, text: str) -> str:
        """Returns the text unchanged."""
        return text

    def answer_so_far(self, text: str) -> str:
        """Returns the text unchanged."""
        return text

    def _render(self, turns: Sequence[Message]) -> list[int]:
        return self._encoder.conversation(
            [turn.to_dict() for turn in turns], add_generation_prompt=True, **self._options
        )

    def _renders_tools(self) -> bool:
        schema = {"type": "object", "properties": {}}
        probe = {"type": "function", "function": {"name": "qZ7", "description": "d", "parameters": schema}}
        turn = [{"role": "user", "content": "hello"}]
        try:
            rendered = self._encoder.tokenizer.apply_chat_template(turn, tools=[probe], tokenize=False)
        except Exception:  # templates of models raise exceptions of any type
            return False
        return "qZ7" in str(rendered)

    def _renders_system_message(self, earlier: Sequence[Mapping[str, str]]) -> bool:
        probe = [*earlier, {"role": "system", "content": "qZ7"}, {"role": "user", "content": "hello"}]
        try:
            return "qZ7" in str(self._encoder.tokenizer.apply_chat_template(probe, tokenize=False))
        except Exception:  # templates of models raise exceptions of any type
            return False

    def _end_of_answer(self, eos_token_ids: Collection[int]) -> list[int]:
        turn = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "qZ7"}]
        ids = self._encoder.conversation(turn)
        # Only the last few: earlier turns end with the same token. At most a line break follows it.
        ends = [token for token in ids[-3:] if token in eos_token_ids]
        eos = self._encoder.tokenizer.eos_token_id
        return ends[:1] or ([] if eos is None else [eos])


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
    """Our wording for base models: a headed line for each turn, a blank line between demonstrations.

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
            turns = [*_without_system(prompt), Message("assistant", answer)]
            blocks.append("\n".join(map(self._line, turns)))
        system = [turn.content for turn in conversation if turn.role == "system" and turn.content]
        blocks += map(self._escaped, system)
        turns = [turn for turn in conversation if turn.role != "system"]
        blocks.append("\n".join([*map(self._line, turns), self.assistant]))
        return "\n\n".join(blocks)

    def _line(self, turn: Message) -> str:
        headings = {"user": self.user, "assistant": self.assistant, "tool": self.tool}
        return f"{headings[turn.role]} {self._escaped(turn.content)}"

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


def prompt_format(tokenizer: Any, eos_token_ids: Collection[int] = ()) -> PromptFormat:
    """Returns the format for a tokenizer: chat if it has a template, otherwise plain."""
    return ChatFormat(tokenizer, eos_token_ids) if tokenizer.chat_template else PlainFormat(tokenizer)


def _without_system(turns: Sequence[Message]) -> list[Message]:
    """Returns the turns with each system text moved into the next user turn."""
    result: list[Message] = []
    waiting: list[str] = []
    for turn in turns:
        if turn.role == "system":
            waiting.append(turn.content)
        elif turn.role == "user" and waiting:
            result.append(Message("user", "\n\n".join([*waiting, turn.content])))
            waiting = []
        else:
            result.append(turn)
    return result + [Message("user", "\n\n".join(waiting))] * bool(waiting)


def _joined(turns: Sequence[Message]) -> list[Message]:
    """Returns the turns with neighbours of one role joined."""
    result: list[Message] = []
    for turn in turns:
        if result and result[-1].role == turn.role:
            result[-1] = Message(turn.role, f"{result[-1].content}\n\n{turn.content}")
        else:
            result.append(turn)
    return result
