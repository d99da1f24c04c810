"""`TextEncoder`: encodes text as token ids; text never becomes a control token.

A tokenizer that reads a rendered chat template can't distinguish the template's `<|im_end|>` from the same
string in a user's text. Here only the template's own control tokens become control tokens.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from icdpo_chains.errors import PromptError

__all__ = ["TextEncoder"]

# Invisible characters that split control strings while the template is rendered.
_BREAKS = ("\u2060", "\u200b", "\u200c", "\u200d")


class TextEncoder:
    """Encodes free text and rendered conversations with one Hugging Face tokenizer. Thread-safe.

    Args:
        tokenizer: any `transformers` tokenizer; it is not modified.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        # `split_special_tokens` is a state of the tokenizer's backend, set by each call: on a shared object,
        # another thread's text could be read in the wrong mode. Text therefore has its own tokenizer.
        self._text_tokenizer = copy.deepcopy(tokenizer)
        # Published tokenizers add role and tool tokens with special=False. Only added spaces are text.
        added = tokenizer.added_tokens_decoder.values()
        controls = {str(token) for token in added if token.special or str(token).strip()}
        # `split_special_tokens` splits only special tokens: mark the other controls as special.
        backend = getattr(self._text_tokenizer, "backend_tokenizer", None)
        if backend is not None:
            backend.add_special_tokens([token for token in added if str(token) in controls])
        controls.update(tokenizer.all_special_tokens)
        controls.discard("")
        # Text needs the unknown token, and a single character that is also the padding token ("!").
        self._control_ids = {
            tokenizer.convert_tokens_to_ids(control)
            for control in controls
            if control != str(tokenizer.unk_token) and len(control) > 1
        } - {None, tokenizer.unk_token_id}
        longest_first = sorted(controls, key=lambda control: (-len(control), control))
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def text(self, text: str) -> list[int]:
        """Returns the ids of free text, without beginning, end or control tokens.

        Raises:
            PromptError: the tokenizer can encode a part of the text only as a control token.
        """
        ids = self._plain(text)
        if self._control_ids.isdisjoint(ids):
            return ids
        # A vocabulary can have a control as an ordinary piece (Unigram, WordLevel): encode its halves apart.
        starts = [found.start() + 1 for found in self._control.finditer(text)]
        pieces = [text[start:end] for start, end in zip([0, *starts], [*starts, len(text)], strict=True)]
        ids = [token for piece in pieces for token in self._plain(piece)]
        found = self._control_ids.intersection(ids)
        if found:
            token = self.tokenizer.convert_ids_to_tokens(min(found))
            raise PromptError(
                f"the tokenizer reads a part of the text {text!r:.80} as its control token {token!r}: "
                "remove this part from the text"
            )
        return ids

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = self._text_tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, verbose=False
        ).input_ids
        return ids

    def beginning(self) -> list[int]:
        """Returns the tokenizer's beginning of a text: its BOS id, or nothing."""
        bos = self.tokenizer.bos_token_id
        begins = bos is not None and self.tokenizer("").input_ids[:1] == [bos]
        return [bos] if begins else []

    def conversation(self, messages: Sequence[Mapping[str, Any]], **template_options: Any) -> list[int]:
        """Returns the ids of messages rendered by the tokenizer's chat template.

        For messages without control strings, these are the ids of
        `tokenizer.apply_chat_template(messages, tokenize=True)`. Control strings inside a message or a tool
        are encoded as plain characters.

        Args:
            messages: `{"role", "content"}` mappings for the template.
            template_options: options of the template, such as `add_generation_prompt` or `tools`.

        Raises:
            PromptError: the template refuses these messages.
        """
        rendered = self.render(messages, **template_options)
        return self.rendered(rendered, messages, **template_options)

    def render(
        self, messages: Sequence[Mapping[str, Any]], *, cut: str | None = None, **template_options: Any
    ) -> str:
        """Returns the text that the chat template makes of messages.

        Args:
            messages: the messages.
            cut: a mark within the last message, where the text ends.
            template_options: the options of the template.

        Raises:
            PromptError: the template refuses these messages.
        """
        import jinja2

        try:
            text = str(self.tokenizer.apply_chat_template(list(messages), tokenize=False, **template_options))
            return text if cut is None else text[: text.rindex(cut)]
        except (jinja2.TemplateError, TypeError, KeyError, AttributeError, ValueError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise PromptError(
                f"the model's chat template refuses this conversation ({error}); its roles are: {roles}"
            ) from error

    def rendered(
        self,
        rendered: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        controls: Sequence[int] | None = None,
        cut: str | None = None,
        **template_options: Any,
    ) -> list[int]:
        """Returns the ids of a text that `render` made.

        Args:
            rendered: the text.
            messages: the messages that the text was made of.
            controls: the control ids that the template gives for harmless messages of the same shape. Other
                control ids come from a text, and never reach the model.
            cut: the mark at which `render` ended the text.
            template_options: the options that the text was made with.

        Raises:
            PromptError: the tokenizer or the template makes control tokens of a text.
        """
        given = _strings([messages, template_options])
        hostile = any(self._control.search(text) for text in given)
        ids = self._hostile(messages, template_options, cut) if hostile else self._whole(rendered)
        if controls is None or self.controls(ids) == list(controls):
            return ids
        if not hostile:
            # A control can be read from a text that does not spell it out: the tokenizer normalizes first.
            ids = [token for piece in self._pieces(rendered) for token in piece]
            if self.controls(ids) == list(controls):
                return ids
        raise PromptError(
            "with this conversation, the model's chat template writes other control tokens than with "
            "harmless text: a message imitates the template; remove the part that looks like a control token"
        )

    def controls(self, ids: Sequence[int]) -> list[int]:
        """Returns the control ids among ids, in their order."""
        return [token for token in ids if token in self._control_ids]

    def _whole(self, rendered: str) -> list[int]:
        ids: list[int] = self.tokenizer(rendered, add_special_tokens=False, verbose=False).input_ids
        return ids

    def _pieces(self, rendered: str) -> Iterator[list[int]]:
        for piece in re.split(f"({self._control.pattern})", rendered):
            if self._control.fullmatch(piece):
                yield [self.tokenizer.convert_tokens_to_ids(piece)]
            elif piece:
                yield self.text(piece)

    def _hostile(
        self, messages: Sequence[Mapping[str, Any]], template_options: Mapping[str, Any], cut: str | None
    ) -> list[int]:
        contents = list(_strings([messages, template_options]))
        unused = [character for character in _BREAKS if not any(character in text for text in contents)]
        mark = unused[0] if unused else _BREAKS[0]

        def broken(found: re.Match[str]) -> str:
            return found[0][0] + mark + found[0][1:]

        harmless, options = _changed(
            [messages, template_options], lambda text: self._control.sub(broken, text)
        )
        rendered = self.render(harmless, cut=cut, **options)
        # All remaining control strings are the template's own. Encode the parts between them as text.
        original = {broken(found): found[0] for text in contents for found in self._control.finditer(text)}
        restore = re.compile("|".join(map(re.escape, original)))
        exact: list[int] = []
        check: list[int] = []
        for piece in re.split(f"({self._control.pattern})", rendered):
            if self._control.fullmatch(piece):
                token = self.tokenizer.convert_tokens_to_ids(piece)
                exact.append(token)
                check.append(token)
            elif piece:
                exact.extend(self.text(restore.sub(lambda found: original[found[0]], piece)))
                check.extend(self.text(piece))
        whole = self._whole(rendered)
        # Some tokenizers change the text after a control token (Phi-3 strips it, Mistral
        # adds no space): encoding by pieces would differ, so the split, harmless strings are encoded instead.
        return exact if check == whole else whole


def _strings(value: Any) -> Iterator[str]:
    """Yields all strings within a value of lists and mappings, including names."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _strings([*value.keys(), *value.values()])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """Returns a copy of such a value with each string changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_changed(name, change): _changed(item, change) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_changed(item, change) for item in value]
    return value
