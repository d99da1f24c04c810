"""Separates a thinking model's thought from its answer, in text and in tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from icdpo_chains.reasoning.closing import (
    CALL,
    closing,
    closing_text,
    is_channel,
    nested_closing,
    thought_text,
)
from icdpo_chains.reasoning.tags import KNOWN_TAGS, THINK, ReasoningTags, known_tags

__all__ = ["Thought", "ThoughtReader", "answer_alone"]

_CONTEXT_END = 32
"""The last tokens of a context, in which a template opens or closes a thought."""


@dataclass(frozen=True)
class Thought:
    """A sampled text, separated into thought and answer.

    Attributes:
        reasoning: the thought, without its tags; `None` for no thought, and for an empty thought.
        answer: the answer; empty for an unfinished thought.
        num_tokens: the number of leading tokens that belong to the thought, including its tags and the white
            space after them.
        finished: whether the thought has its closing tag.
    """

    reasoning: str | None
    answer: str
    num_tokens: int
    finished: bool = True


@dataclass(frozen=True)
class _Span:
    """The thought in a text, and the position of the answer (`None`: absent).

    `nested`: a thought within the thought has no end yet. If the text goes on and closes both, the answer
    begins later.
    """

    thought: str
    answer: int | None
    nested: bool = False


@dataclass(frozen=True)
class ThoughtReader:
    """Separates thought and answer after one context.

    A thought is between an opening and a closing tag at the beginning of the text; thoughts within it belong
    to it. If the context already opens the thought (as in the templates of DeepSeek-R1), there is only a
    closing tag. A lone closing tag ends a thought after other contexts too, except after a closed, empty
    thought.

    Attributes:
        tags: the tags to look for.
        opened: the tags of the thought that the context opens.
        closed: the context closes a thought, and the answer follows directly.
        closing_alone: whether a lone closing tag ends a thought.
    """

    tags: tuple[ReasoningTags, ...] = (THINK,)
    opened: ReasoningTags | None = None
    closed: bool = False
    closing_alone: bool = True

    @classmethod
    def after(
        cls,
        context: Sequence[int],
        tokenizer: Any,
        tags: Sequence[ReasoningTags] | None = None,
        *,
        begun: str = "",
        closing_alone: bool = True,
    ) -> ThoughtReader:
        """Returns the reader for texts after a context.

        Args:
            context: token ids.
            tokenizer: decodes the ids.
            tags: the tags to look for, by default those of the tokenizer; `<think>` always.
            begun: the beginning of the answer, if the context has it; it may open a thought.
            closing_alone: whether a lone closing tag ends a thought.
        """
        tags = known_tags(tokenizer) if tags is None else tags
        tags = tuple(tags) if THINK in tags else (*tags, THINK)
        end = _decoded(tokenizer, context[-_CONTEXT_END:]).rstrip() if context else ""
        opened = next((each for each in tags if end.endswith(each.opening.rstrip())), None)
        if opened is None and not (own := cls(tags, closing_alone=False)).read(begun).finished:
            opened = own._opening(begun, 0)[1]
        closed = any(end.endswith(each.closing.rstrip()) for each in tags)
        return cls(tags, opened, closed, closing_alone)

    @classmethod
    def of_given(cls, tags: Sequence[ReasoningTags] = ()) -> ThoughtReader:
        """Returns the reader for given texts, in which only an opening tag opens a thought.

        Args:
            tags: tags to look for beside the known ones: another model may have written the text.
        """
        others = (each for each in KNOWN_TAGS if each not in tags)
        return cls((*tags, *others), closing_alone=False)

    def thought_ids(
        self, reasoning: str | None, tokenizer: Any, encoded: Callable[[str], list[int]]
    ) -> list[int]:
        """Returns the ids of the thought before a given answer.

        Args:
            reasoning: the thought; `None` closes a thought that the context opens.
            tokenizer: encodes the tags.
            encoded: encodes the thought as free text.
        """
        if reasoning is None and self.opened is None:
            return []
        tags = self.opened or self.tags[0]
        opening = tags.opening if is_channel(tags) else f"{tags.opening}\n"
        parts = [
            tokenizer(text, add_special_tokens=False).input_ids
            for text in ("" if self.opened else opening, closing_text(tags))
        ]
        return [*parts[0], *(encoded(reasoning) if reasoning else []), *parts[1]]

    def closing_ids(self, token_ids: Sequence[int], tokenizer: Any) -> list[int]:
        """Returns the ids that close a thought which these ids have not finished.

        Args:
            token_ids: the tokens sampled so far.
            tokenizer: encodes the tag.
        """
        tags = self._opening(_decoded(tokenizer, token_ids), 0)[1] or self.opened or self.tags[0]
        ids: list[int] = tokenizer(closing_text(tags), add_special_tokens=False).input_ids
        return ids

    def read(self, text: str) -> Thought:
        """Separates a text; `num_tokens` is 0."""
        span = self._span(text)
        if span is None:
            return Thought(None, text, 0)
        reasoning = thought_text(span.thought)
        if span.answer is None:
            return Thought(reasoning, "", 0, finished=False)
        return Thought(reasoning, text[span.answer :].lstrip(), 0)

    def answer_start(self, text: str) -> int | None:
        """Returns the start of the answer in a text; `None` for an unfinished thought."""
        span = self._span(text)
        return 0 if span is None else span.answer

    def split(self, token_ids: Sequence[int], text: str, tokenizer: Any) -> Thought:
        """Separates the tokens of a sample.

        A token with the end of the tag and characters of the answer belongs to the answer.

        Args:
            token_ids: the sampled tokens.
            text: the sample's text, without control tokens and cut before a stop string.
            tokenizer: decodes the ids.
        """
        raw = _decoded(tokenizer, token_ids)  # with control tokens: a tag can be one
        span = self._span(raw)
        if span is None:
            return Thought(None, text, 0)
        if span.answer is None:
            end = _decoded(tokenizer, [each for each in token_ids[-1:] if each in tokenizer.all_special_ids])
            reasoning = thought_text(span.thought.removesuffix(end))
            return Thought(reasoning, "", len(token_ids), finished=False)
        reasoning = thought_text(span.thought)
        count = self._thought_tokens(token_ids, span.answer, tokenizer)
        if CALL.match(raw, span.answer):  # a call is unreadable without its marks
            return Thought(reasoning, raw[span.answer :].strip(), count)
        if raw[: span.answer] == text[: span.answer]:
            return Thought(reasoning, text[span.answer :].lstrip(), count)
        before = _decoded(tokenizer, token_ids[:count], skip_special_tokens=True)
        if text.startswith(before):
            answer = text[len(before) :]
        else:
            answer = _decoded(tokenizer, token_ids[count:], skip_special_tokens=True)
        return Thought(reasoning, answer.lstrip(), count)

    def so_far(self, token_ids: Sequence[int], text: str, tokenizer: Any) -> str:
        """Returns the beginning of the answer in an unfinished sample; nothing while a tag may follow.

        Args:
            token_ids: the tokens sampled so far.
            text: the settled text of the tokens, without control tokens.
            tokenizer: decodes the ids.
        """
        raw = _decoded(tokenizer, token_ids)
        tags = (tag for each in self.tags for tag in (each.opening, each.closing))
        if any(tag.startswith(raw.lstrip()) for tag in tags):
            return ""
        if (span := self._span(raw)) is not None and span.nested:
            return ""
        thought = self.split(token_ids, text, tokenizer)
        if thought.num_tokens and any(each.opening.startswith(thought.answer) for each in self.tags):
            return ""  # another thought may follow
        return thought.answer.rstrip("\N{REPLACEMENT CHARACTER}")  # half a character of a call

    def thought_tokens(self, token_ids: Sequence[int], tokenizer: Any, *, ended: bool = True) -> int | None:
        """Returns the number of leading tokens of the thought; `None` for an unfinished thought.

        Args:
            token_ids: the tokens sampled so far.
            tokenizer: decodes the ids.
            ended: whether no more tokens follow. Otherwise a thought with an open thought within it is
                unfinished.
        """
        span = self._span(_decoded(tokenizer, token_ids))
        if span is None:
            return 0
        if span.answer is None or (span.nested and not ended):
            return None
        return span.answer and self._thought_tokens(token_ids, span.answer, tokenizer)

    def _thought_tokens(self, token_ids: Sequence[int], start: int, tokenizer: Any) -> int:
        least, most = 1, len(token_ids)
        while least < most:  # the shortest beginning that contains the whole thought
            middle = (least + most) // 2
            if len(_decoded(tokenizer, token_ids[:middle])) >= start:
                most = middle
            else:
                least = middle + 1
        if _decoded(tokenizer, token_ids[:least])[start:].strip():
            return least - 1
        while least < len(token_ids) and not _decoded(tokenizer, token_ids[least : least + 1]).strip():
            least += 1
        return least

    def _span(self, text: str) -> _Span | None:
        first, tags = self._opening(text, 0)
        if self.opened is not None:
            tags = tags or self.opened
        elif tags is None:
            return self._closing_alone(text)
        at = answer = first
        thoughts: list[str] = []
        nests = True
        while tags is not None:  # several thoughts in a row
            found = closing(tags, text, at)
            if found is None:
                return _Span("\n".join([*thoughts, text[at:]]), None)
            # Channels do not nest: a message of the channel `analysis` ends before the next begins.
            if nests and not is_channel(tags) and tags.opening in text[at : found[0]]:
                inner = nested_closing(tags, text, at)
                nests = inner is not None  # one vain search, so that the time stays linear
                found = inner or found
            end, answer = found
            thoughts.append(text[at:end])
            at, tags = self._opening(text, answer)
        return _Span("\n".join(thoughts), answer, nested=not nests)

    def _opening(self, text: str, at: int) -> tuple[int, ReasoningTags | None]:
        """Returns the position after an opening tag at a position, or after white space there."""
        start = at
        while start < len(text) and text[start].isspace():
            start += 1
        for tags in self.tags:
            if text.startswith(tags.opening, start):
                return start + len(tags.opening), tags
        return at, None

    def _closing_alone(self, text: str) -> _Span | None:
        if not self.closing_alone or self.closed:
            return None
        ends = [found for found in (closing(tags, text, 0) for tags in self.tags) if found is not None]
        if not ends:
            return None
        end, answer = min(ends)
        return _Span(text[:end], answer)


def answer_alone(text: str, tags: Sequence[ReasoningTags] = ()) -> str:
    """Returns a given text without its finished thought.

    Args:
        text: an answer, perhaps with a thought before it.
        tags: tags to look for beside the known ones.
    """
    thought = ThoughtReader.of_given(tags).read(text)
    return thought.answer if thought.finished else text


def _decoded(tokenizer: Any, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
    return str(
        tokenizer.decode(
            list(token_ids), skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
        )
    )
