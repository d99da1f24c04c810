"""`Question`: a question laid out for the policy, between retrieval and sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from icdpo_chains.demonstrations.retriever import RetrievedDemonstration
from icdpo_chains.draft import Answer, Draft
from icdpo_chains.messages import Message
from icdpo_chains.policies.sampling import Sample, SampleRequest
from icdpo_chains.policies.token_stream import TokenStream
from icdpo_chains.prompts.contexts import Contexts
from icdpo_chains.prompts.formats import PromptFormat
from icdpo_chains.reasoning.tags import ReasoningTags
from icdpo_chains.reasoning.thoughts import Thought, ThoughtReader, answer_alone
from icdpo_chains.tool_calls.reading import CALL_MARKS

__all__ = ["Question", "thought_ids", "thought_reader"]


@dataclass(frozen=True)
class Question:
    """A question's request to the policy, and the conversion of its samples to answers.

    Attributes:
        request: the request to the policy.
        contexts: the contexts of the question, as token ids.
        demonstrations: the demonstrations to show, best first.
        format: the layout of texts.
        tokenizer: the tokenizer of the policy.
    """

    request: SampleRequest
    contexts: Contexts
    demonstrations: tuple[RetrievedDemonstration, ...]
    format: PromptFormat
    tokenizer: Any

    def streamed(
        self, on_text: Callable[[str], None], on_thought: Callable[[str], None] | None = None
    ) -> Question:
        """Returns the question with a stream of the answer, if one candidate is sampled.

        Args:
            on_text: see `ICDPO.generate`.
            on_thought: see `ICDPO.generate`.
        """
        if self.request.n != 1:
            return self
        reader = self.request.sampling.reasoning or ThoughtReader()

        def report(text: str) -> None:
            nonlocal on_thought
            answer = reader.so_far(stream.token_ids, text, self.tokenizer)
            if answer and on_thought is not None:
                thought = reader.split(stream.token_ids, text, self.tokenizer).reasoning
                if thought is not None:
                    on_thought(thought)
                on_thought = None  # the thought is told once
            on_text(self.format.answer_so_far(answer))

        stream = TokenStream(report)
        return replace(self, request=replace(self.request, stream=stream))

    def watched(self, on_ended: Callable[[], None]) -> Question:
        """Returns the question with a call for each candidate that has been sampled to its end.

        Args:
            on_ended: see `SampleRequest`.
        """
        return replace(self, request=replace(self.request, on_ended=on_ended))

    def draft(self, samples: Sequence[Sample]) -> Draft:
        """Returns the samples as unscored answers."""
        answers = tuple(map(self._answer, samples))
        return Draft(self.contexts, self.demonstrations, answers, self.request.sampling.seed)

    def _answer(self, sample: Sample) -> Answer:
        reader = self.request.sampling.reasoning or ThoughtReader()
        thought = reader.split(sample.token_ids, sample.text, self.tokenizer)
        text = self._with_marks(sample, thought) if getattr(self.format, "tools", ()) else thought.answer
        return Answer(
            self.format.answer_text(text),
            sample.token_ids,
            # Sampling has recorded the log-probabilities: the expert side of the score is free.
            sample.logprobs,
            sample.finish_reason,
            sample.contrast_logprobs,
            thought.reasoning,
            thought.num_tokens,
        )

    def _with_marks(self, sample: Sample, thought: Thought) -> str:
        """Returns the answer with the control tokens that mark a tool call, if there are any."""
        ids = list(sample.token_ids[thought.num_tokens :])
        if ids and ids[-1] == self.tokenizer.eos_token_id:
            ids.pop()
        raw, bare = (
            str(self.tokenizer.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False))
            for skip in (False, True)
        )
        lost = any(mark in raw and mark not in thought.answer for mark in CALL_MARKS)
        # A text that ends at a stop string is shorter than its tokens.
        return raw.strip() if lost and bare.strip() == thought.answer.strip() else thought.answer


def thought_reader(
    context: Sequence[int], conversation: Sequence[Message], tokenizer: Any, tags: Sequence[ReasoningTags]
) -> ThoughtReader:
    """Returns the reader of the texts that follow a context.

    Args:
        context: the context as token ids.
        conversation: the conversation in the context. Its last turn may be the beginning of the answer, which
            may open a thought.
        tokenizer: the tokenizer of the policy.
        tags: the strings around the model's thoughts.
    """
    last = conversation[-1]
    begun = last.content if last.role == "assistant" else ""
    return ThoughtReader.after(context, tokenizer, tags, begun=begun)


def thought_ids(
    given: Sequence[Thought],
    conversation: Sequence[Message],
    form: PromptFormat,
    tokenizer: Any,
    tags: Sequence[ReasoningTags],
) -> list[list[int]]:
    """Returns the token ids of the thoughts before given answers.

    Args:
        given: the answers with their thoughts.
        conversation: the conversation before the answers, which may end with their beginning.
        form: the layout of texts.
        tokenizer: the tokenizer of the policy.
        tags: the strings around the model's thoughts; empty for a model that does not think.
    """
    begun = [
        replace(turn, content=answer_alone(turn.content, tags))
        for turn in conversation[-1:]
        if turn.role == "assistant"
    ]
    if not tags and not begun and all(thought.reasoning is None for thought in given):
        return [[] for _ in given]
    conversation = [Message("user", "hello"), *begun]
    reader = thought_reader(form.context(conversation, [], None), conversation, tokenizer, tags)

    def encoded(text: str) -> list[int]:
        return form.answer(text, ended=False)

    return [reader.thought_ids(thought.reasoning, tokenizer, encoded) for thought in given]
