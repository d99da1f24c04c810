"""`Question`: a question laid out for the policy, between retrieving and sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from icdpo_chains.demonstrations.retrieval import RetrievedDemonstration
from icdpo_chains.policies.sampling import Sample, SampleRequest
from icdpo_chains.policies.token_stream import TokenStream
from icdpo_chains.prompts.contexts import Contexts
from icdpo_chains.prompts.formats import PromptFormat
from icdpo_chains.reasoning.thoughts import ThoughtReader
from icdpo_chains.result import Answer, Draft

__all__ = ["Question"]


@dataclass(frozen=True)
class Question:
    """What a policy is asked to sample, and what its samples become.

    Attributes:
        request: to the policy.
        contexts: what the model is shown, as token ids.
        demonstrations: those that were to be shown, best first.
        format: how texts are laid out.
        tokenizer: the policy's.
    """

    request: SampleRequest
    contexts: Contexts
    demonstrations: tuple[RetrievedDemonstration, ...]
    format: PromptFormat
    tokenizer: Any

    def streamed(self, on_text: Callable[[str], None]) -> Question:
        """Returns the same with a stream of the answer, if one candidate is sampled.

        Args:
            on_text: see `ICDPO.generate`.
        """
        if self.request.n != 1:
            return self
        reader = self.request.sampling.reasoning or ThoughtReader()

        def told(text: str) -> None:
            answer = reader.so_far(stream.token_ids, text, self.tokenizer)
            on_text(self.format.answer_so_far(answer))

        stream = TokenStream(told)
        return replace(self, request=replace(self.request, stream=stream))

    def draft(self, samples: Sequence[Sample]) -> Draft:
        """Returns the samples as answers that are not scored yet."""
        answers = tuple(map(self._answer, samples))
        return Draft(self.contexts, self.demonstrations, answers, self.request.sampling.seed)

    def _answer(self, sample: Sample) -> Answer:
        reader = self.request.sampling.reasoning or ThoughtReader()
        thought = reader.split(sample.token_ids, sample.text, self.tokenizer)
        return Answer(
            self.format.answer_text(thought.answer),
            sample.token_ids,
            # The log-probabilities were recorded while sampling: the expert side of the score is free.
            sample.logprobs,
            sample.finish_reason,
            sample.contrast_logprobs,
            thought.reasoning,
            thought.num_tokens,
        )
