"""`ChatFormat`: conversations and demonstrations in the tokenizer's own chat template."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from icdpo_chains.errors import PromptError
from icdpo_chains.messages import Message
from icdpo_chains.prompts.encoding import TextEncoder
from icdpo_chains.prompts.harmless import Harmless, is_shown, switches_of
from icdpo_chains.prompts.template_kwargs import checked_kwargs
from icdpo_chains.prompts.template_layouts import Layout, layouts, opening_told, with_ids, without_system
from icdpo_chains.prompts.thinking import SWITCH, Thinking, thinking_options
from icdpo_chains.reasoning.tags import KNOWN_TAGS

__all__ = ["ChatFormat", "Shown"]

Shown = tuple[Sequence[Message], str]
"""One demonstration in a context: its prompt, and one of its answers."""

_CONTINUE = "continue_final_message"
_CUT = "zqkend"
"""Follows the beginning of an answer while the template is rendered."""

_MOST_KEPT = 10_000
"""The maximum number of turns in the cache, over all shapes of conversations."""

_TOOL = {
    "type": "function",
    "function": {
        "name": "zqktool",
        "description": "d",
        "parameters": {"type": "object", "properties": {"a": {"type": "string", "description": "d"}}},
    },
}


class ChatFormat:
    """The tokenizer's chat template: demonstrations are earlier turns, the instruction is a system message.

    The conversation's own system messages, such as the documents of a RAG chain, follow the demonstrations:
    models forget these messages if demonstrations stand between them and the question. The switches that a
    template looks for in its first system message (SmolLM3's `/no_think`) also follow the instruction.

    Templates accept different forms: contents as texts or as lists of parts, system messages anywhere or in
    one place, alternating roles, tool calls in several forms. A conversation of a new shape is first rendered
    with harmless texts, and the first `Layout` that shows all of them is used. A conversation that no layout
    shows in full is an error.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        eos_token_ids: the ids at which the model stops. The one that the template writes after an answer ends
            each answer in a prompt.

    Raises:
        PromptError: the tokenizer has no chat template, or the template shows no text.
    """

    stop: tuple[str, ...] = ()

    def __init__(self, tokenizer: Any, eos_token_ids: Collection[int] = ()) -> None:
        if not tokenizer.chat_template:
            raise PromptError("the tokenizer has no chat template: use PlainFormat, or set chat_template")
        self._encoder = TextEncoder(tokenizer)
        self._switches = switches_of(tokenizer.chat_template)
        self._options: dict[str, Any] = {}
        self._known: dict[tuple[object, ...], tuple[Layout, list[int]]] = {}
        self._switched: dict[str, dict[str, Any]] = {}
        self._end = self._end_of_answer(eos_token_ids)

    def with_tools(self, tools: Sequence[Mapping[str, Any]]) -> ChatFormat:
        """Returns the same format with tools that the template shows to the model.

        Args:
            tools: the tools in the form of OpenAI's API, `{"type": "function", "function": {...}}`.

        Raises:
            PromptError: the template has no place for tools.
        """
        if not self.takes_tools:
            raise PromptError(
                "the model's chat template has no place for tools, and the model would not see them: "
                "use a model that was trained to call tools, such as Qwen2.5-Instruct, or leave them out"
            )
        return self._with_options({"tools": list(tools)})

    def with_template_kwargs(
        self, kwargs: Mapping[str, Any] | None = None, thinking: Thinking | None = None
    ) -> ChatFormat:
        """Returns the same format with keywords for the template, such as `{"enable_thinking": False}`.

        Args:
            kwargs: the keywords; those that the format has already are kept.
            thinking: whether the model thinks, or how much (`"low"`, `"medium"`, `"high"`); becomes the
                template's own switch.

        Raises:
            PromptError: the template knows no keyword of a name, has no switch, or gets two values for one
                keyword.
            TypeError, ValueError: `thinking` has another value.
        """
        tokenizer = self._encoder.tokenizer
        named = checked_kwargs(kwargs or {}, tokenizer.chat_template)
        switched = {}
        if thinking is not None:
            key = repr(thinking)  # 1 is not True
            if key not in self._switched:
                self._switched[key] = thinking_options(thinking, tokenizer, self._probed)
            switched = self._switched[key]
        twice = [name for name in switched if name in named]
        if twice:
            raise PromptError(
                f"thinking and chat_template_kwargs both set {twice[0]!r} of the chat template: leave one out"
            )
        return self._with_options({**named, **switched})

    @property
    def options(self) -> Mapping[str, Any]:
        """The tools and keywords that the template gets."""
        return dict(self._options)

    @property
    def continues(self) -> bool:
        """Whether the answer continues the assistant's turn that ends a conversation."""
        return bool(self._options.get(_CONTINUE))

    @property
    def tools(self) -> Sequence[Mapping[str, Any]]:
        """The tools that the model sees."""
        return list(self._options.get("tools", ()))

    def context(
        self, conversation: Sequence[Message], shown: Sequence[Shown], instruction: str | None
    ) -> list[int]:
        """Returns the ids of instruction, demonstrations and conversation, up to the start of the answer.

        Raises:
            PromptError: the template refuses the conversation, leaves out the text of a message, or writes
                other control tokens than with harmless text.
        """
        own = [turn.content for turn in conversation if turn.role == "system"]
        switches = [each for each in self._switches if any(each in text for text in own)]
        if switches and instruction:
            instruction = f"{instruction}\n\n{' '.join(switches)}"
        elif not switches and SWITCH in self._options:
            instruction = f"{instruction or ''}\n\n{self._options[SWITCH]}".lstrip()
        turns = [Message("system", instruction)] if instruction else []
        for prompt, answer in shown:
            turns += [*without_system(prompt), Message("assistant", answer)]
        if not self._takes_opening:
            conversation = opening_told(conversation)
        return self._render(with_ids([*turns, *conversation]))

    def answer(self, text: str, *, ended: bool) -> list[int]:
        """Returns the ids of an answer, with the template's end of turn if it `ended`."""
        return self._encoder.text(text) + (self._end if ended else [])

    def answer_text(self, text: str) -> str:
        """Returns the text unchanged."""
        return text

    def answer_so_far(self, text: str) -> str:
        """Returns the text unchanged."""
        return text

    def _probed(self, options: Mapping[str, Any]) -> list[int]:
        bare = self._with_options({})
        bare._options = dict(options)
        return bare.context([Message("user", "hello")], [], None)

    def _with_options(self, options: Mapping[str, Any]) -> ChatFormat:
        changed = copy.copy(self)
        changed._options = {**self._options, **options}
        changed._known = {}
        changed.__dict__.pop("_takes_opening", None)
        return changed

    def _render(self, turns: Sequence[Message], *, prompted: bool = True) -> list[int]:
        cut = None
        if self.continues and turns[-1].role == "assistant":
            cut, prompted = _CUT, False
            turns = [*turns[:-1], replace(turns[-1], content=turns[-1].content + cut)]
        options = {**self._keywords, "add_generation_prompt": prompted}
        layout, controls = self._layout(turns, options, cut)
        messages = layout.messages(turns)
        text = self._encoder.render(messages, cut=cut, **options)
        self._check_shown(turns, text)
        return self._encoder.rendered(text, messages, controls=controls, cut=cut, **options)

    @property
    def _keywords(self) -> dict[str, Any]:
        ours = (_CONTINUE, SWITCH)
        return {name: value for name, value in self._options.items() if name not in ours}

    @cached_property
    def _takes_opening(self) -> bool:
        """Whether the assistant's turn may open a conversation, alone and after demonstrations."""
        opening = [Message("assistant", "hello"), Message("user", "hello")]
        try:
            found = [
                self._layout(turns, self._keywords) for turns in (opening, [*reversed(opening), *opening])
            ]
        except PromptError:
            return False
        return not any(layout.joined for layout, _ in found)

    def _layout(
        self, turns: Sequence[Message], options: Mapping[str, Any], cut: str | None = None
    ) -> tuple[Layout, list[int]]:
        """The layout for conversations of this shape, and the control ids that the template writes then."""
        harmless = Harmless.like(turns, self._switches)
        if cut is not None:
            harmless = harmless.ending(cut)
        key = (*harmless.key, options.get("add_generation_prompt"))
        known = self._known.get(key)
        if known is None:
            known = self._first_layout(harmless, Harmless.options(options), cut)
            if sum(map(len, list(self._known))) + len(key) > _MOST_KEPT:
                self._known.clear()
            self._known[key] = known
        return known

    def _first_layout(
        self, harmless: Harmless, options: Mapping[str, Any], cut: str | None = None
    ) -> tuple[Layout, list[int]]:
        disordered: tuple[Layout, list[int]] | None = None
        refusal: PromptError | None = None
        for layout in layouts(harmless.turns):
            messages = layout.messages(harmless.turns)
            try:
                text = self._encoder.render(messages, cut=cut, **options)
            except PromptError as error:
                refusal = refusal or error
                continue
            # Where a call has no content, some templates write "None".
            if not harmless.shown_in(text) or (layout.no_words is None and "None" in text):
                continue
            ids = self._encoder.rendered(text, messages, cut=cut, **options)
            found = (layout, self._encoder.controls(ids))
            if harmless.in_order(text):
                return found
            disordered = disordered or found
        if disordered is not None:
            return disordered
        roles = ", ".join(turn.role for turn in harmless.turns)
        raise refusal or PromptError(
            f"the model's chat template leaves out the text of a message, in any form of conversations "
            f"that templates take; the roles are: {roles}"
        )

    def _check_shown(self, turns: Sequence[Message], rendered: str) -> None:
        at = 0  # mostly, each text follows the text before: the search is linear
        for turn in turns:
            for text in _texts(turn):
                place = rendered.find(text, at)
                if place >= 0:
                    at = place + len(text)
                elif not is_shown(text, rendered, self._switches):
                    raise PromptError(
                        f"the model's chat template leaves out or changes a part of the {turn.role} message "
                        f"{text!r:.80}, so that the model would not see this part: change the message, or "
                        "set another chat_template"
                    )

    @cached_property
    def takes_tools(self) -> bool:
        """Whether the template shows tools to the model."""
        turns = [Message("user", "hello")]
        try:
            layout, _ = self._layout(turns, self._keywords)
            rendered = self._encoder.render(layout.messages(turns), tools=[_TOOL])
        except PromptError:
            return False
        return "zqktool" in rendered

    def _end_of_answer(self, eos_token_ids: Collection[int]) -> list[int]:
        ids = self._render([Message("user", "hello"), Message("assistant", "qZ7")], prompted=False)
        # Only the last few: earlier turns end with the same token. At most a line break follows it.
        ends = [token for token in ids[-3:] if token in eos_token_ids]
        eos = self._encoder.tokenizer.eos_token_id
        return ends[:1] or ([] if eos is None else [eos])


def _texts(turn: Message) -> list[str]:
    """The texts of a turn that a template has to show."""
    content = turn.content
    if turn.role == "assistant":
        # Templates leave out the thoughts of earlier turns.
        for tags in KNOWN_TAGS:
            content = content.rsplit(tags.closing, 1)[-1]
        content = content.removesuffix(_CUT)
    values = [value for call in turn.tool_calls for value in call.arguments.values()]
    return [text.strip() for text in (content, *values) if isinstance(text, str)]
