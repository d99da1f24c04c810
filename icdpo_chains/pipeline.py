"""`Pipeline`: the stages of ICDPO (arXiv 2402.09320): retrieve, sample or encode, rank, select."""

from __future__ import annotations

import copy
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from typing_extensions import Self

from icdpo_chains.demonstrations.retriever import MAX_DEMONSTRATIONS, RetrievedDemonstration, Retriever
from icdpo_chains.demonstrations.showable import compared_with, showable
from icdpo_chains.draft import Answer, Draft
from icdpo_chains.foundation.concurrency import check_cancelled
from icdpo_chains.foundation.validation import check_count, check_method
from icdpo_chains.messages import Conversation, Message, as_conversation, as_responses
from icdpo_chains.policies.policy import Policy, ScoreRequest, logprobs_of_all, sampled
from icdpo_chains.policies.sampling import MAX_CANDIDATES, SampleRequest, SamplingParams
from icdpo_chains.prompts.contexts import Contexts, Instructions, budget_of, build_contexts
from icdpo_chains.prompts.formats import PromptFormat, prompt_format, with_template_kwargs
from icdpo_chains.prompts.thinking import Thinking
from icdpo_chains.question import Question, thought_ids, thought_reader
from icdpo_chains.reasoning.tags import ReasoningTags, as_tags, known_tags
from icdpo_chains.reasoning.thoughts import ThoughtReader
from icdpo_chains.result import ICDPOResult
from icdpo_chains.scoring import InstantScorer

__all__ = ["Pipeline"]


class Pipeline:
    """The stages of `ICDPO` as separate methods, for code that needs something of its own between them.

    Args:
        policy: the language model.
        retriever: finds demonstrations.
        scorer: the instant scorer; by default S^, summed.
        n: the number of candidates.
        k: the number of demonstrations shown; `None` leaves the number to the retriever.
        sampling: how candidates are sampled.
        instructions: the texts before chosen and before rejected answers.
        format: the layout of texts; by default the tokenizer's chat template if it has one.
        max_context: the maximum number of tokens of context and answer, up to the model's own limit.
        finalists: rejects candidates that fall behind while they are sampled, until this many are left. That
            is faster for a large `n`, and changes some answers (see `docs/speed.md`).
        demonstrations_required: whether an empty result of the retriever is an error; otherwise the
            instructions alone are shown.
        reasoning_tags: the strings around a model's thoughts; by default those that its tokenizer knows.
        chat_template_kwargs: keywords for the chat template, such as `{"enable_thinking": False}`.
        thinking: whether the model thinks before it answers: `True`, `False`, or an effort, `"low"`,
            `"medium"` or `"high"`. It becomes the chat template's own switch.

    Raises:
        PromptError: the chat template does not know a keyword, or has no switch for `thinking`.
        TypeError, ValueError: an argument is of the wrong type or out of range.
    """

    def __init__(
        self,
        policy: Policy,
        retriever: Retriever,
        scorer: InstantScorer | None = None,
        *,
        n: int = 8,
        k: int | None = None,
        sampling: SamplingParams | None = None,
        instructions: Instructions | None = None,
        format: PromptFormat | None = None,
        max_context: int | None = None,
        finalists: int | None = None,
        demonstrations_required: bool = True,
        reasoning_tags: Sequence[ReasoningTags | Sequence[str]] | Sequence[str] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        thinking: Thinking | None = None,
    ) -> None:
        check_method(policy, "the policy", "logprobs", "a TransformersPolicy, or a name to from_defaults()")
        check_method(
            retriever, "the retriever", "retrieve", "TwoStageRetriever(store) or FixedDemonstrations"
        )
        self.policy = policy
        self.retriever = retriever
        self.scorer = scorer or InstantScorer()
        self.n = check_count(n, "n", MAX_CANDIDATES)
        self.k = k if k is None else check_count(k, "k", MAX_DEMONSTRATIONS)
        self.sampling = sampling or SamplingParams()
        self.finalists = (
            finalists if finalists is None else check_count(finalists, "finalists", MAX_CANDIDATES)
        )
        self.demonstrations_required = demonstrations_required
        self.instructions = instructions or Instructions()
        form = format or prompt_format(policy.tokenizer, policy.eos_token_ids)
        self.format = with_template_kwargs(form, chat_template_kwargs, thinking)
        self.reasoning_tags = (
            known_tags(policy.tokenizer) if reasoning_tags is None else as_tags(reasoning_tags)
        )
        limits = [limit for limit in (policy.max_context, max_context) if limit is not None]
        self.max_context = min(limits, default=None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy.copy(self)  # policy and retriever are shared

    def with_chat_template_kwargs(
        self, kwargs: Mapping[str, Any] | None, thinking: Thinking | None = None
    ) -> Self:
        """Returns the same with keywords for the chat template, or with `thinking`; the rest is shared.

        Raises:
            PromptError: the chat template does not know a keyword, or has no switch for `thinking`.
        """
        form = with_template_kwargs(self.format, kwargs, thinking)
        return self if form is self.format else self.with_format(form)

    def with_format(self, form: PromptFormat) -> Self:
        """Returns the same with another layout of texts; policy and retriever are shared."""
        changed = copy.copy(self)
        changed.format = form
        return changed

    def conversation(self, prompt: Conversation) -> tuple[Message, ...]:
        """Returns a prompt as messages; see `as_conversation`."""
        return as_conversation(prompt, continued=getattr(self.format, "continues", False))

    def retrieve(
        self, prompt: Conversation, *, k: int | None = None, exclude: Collection[str] = ()
    ) -> list[RetrievedDemonstration]:
        """The first stage of `generate`: finds demonstrations, best first.

        Raises:
            InvalidInputError, TypeError, ValueError: see `generate`.
        """
        check_cancelled()
        k = self.k if k is None else check_count(k, "k", MAX_DEMONSTRATIONS)
        conversation = self.conversation(prompt)
        asked = conversation[:-1] if conversation[-1].role == "assistant" else conversation
        return self.retriever.retrieve(asked, k, exclude=exclude)

    def sample(
        self,
        prompt: Conversation,
        demonstrations: Sequence[RetrievedDemonstration],
        *,
        n: int | None = None,
        sampling: SamplingParams | None = None,
        seed: int | None = None,
        finalists: int | None = None,
    ) -> Draft:
        """The second stage of `generate`: samples candidates with the chosen answers in context.

        Args:
            prompt: the question.
            demonstrations: the demonstrations of `retrieve`, or others, best first.
            n: the number of candidates.
            sampling: replaces the instance's sampling parameters.
            seed: overrides the seed in `sampling`.
            finalists: replaces the instance's number.

        Raises:
            ICDPOError, TypeError, ValueError: see `ICDPO.generate`.
        """
        question = self.ask(prompt, demonstrations, n=n, sampling=sampling, seed=seed, finalists=finalists)
        return self.sample_questions([question])[0]

    def ask(
        self,
        prompt: Conversation,
        demonstrations: Sequence[RetrievedDemonstration],
        *,
        n: int | None = None,
        sampling: SamplingParams | None = None,
        seed: int | None = None,
        finalists: int | None = None,
    ) -> Question:
        """The first half of `sample`, with its arguments and errors: lays the question out for the policy."""
        conversation = self.conversation(prompt)
        n = self.n if n is None else check_count(n, "n", MAX_CANDIDATES)
        sampling = sampling or self.sampling
        if seed is None:
            # Drawn here, so that the result names the seed and any answer can be reproduced.
            seed = secrets.randbits(32) if sampling.seed is None else sampling.seed
        demonstrations = self._shown(demonstrations)
        contexts = self._contexts(conversation, demonstrations, sampling.max_new_tokens)
        reader = thought_reader(contexts.chosen, conversation, self.policy.tokenizer, self.reasoning_tags)
        stop = (*self.format.stop, *sampling.stop)
        sampling = replace(sampling, seed=seed, stop=stop, reasoning=reader)
        finalists = (
            self.finalists if finalists is None else check_count(finalists, "finalists", MAX_CANDIDATES)
        )
        if finalists is not None and finalists >= n:
            finalists = None  # nothing to reject
        contrast = contexts.contrast if finalists is not None or sampling.guided else ()
        request = SampleRequest(contexts.chosen, n, sampling, finalists=finalists, contrast=contrast)
        return Question(request, contexts, tuple(demonstrations), self.format, self.policy.tokenizer)

    def sample_questions(self, questions: Sequence[Question]) -> list[Draft]:
        """The second half of `sample`, for one or several questions: together if the policy supports it."""
        check_cancelled()
        samples = sampled(self.policy, [question.request for question in questions])
        return [question.draft(own) for question, own in zip(questions, samples, strict=True)]

    def encode(
        self,
        prompt: Conversation,
        demonstrations: Sequence[RetrievedDemonstration],
        responses: Sequence[str],
        *,
        ended: bool = True,
    ) -> Draft:
        """Replaces `sample` for given answers; `score` uses it.

        Args:
            prompt: the question.
            demonstrations: the demonstrations of `retrieve`, or others, best first.
            responses: the answers.
            ended: see `ICDPO.score`.

        Raises:
            ICDPOError, TypeError, ValueError: see `ICDPO.score`.
        """
        conversation = self.conversation(prompt)
        reader = ThoughtReader.of_given(self.reasoning_tags)
        given = [reader.read(response) for response in as_responses(responses)]
        thoughts = thought_ids(given, conversation, self.format, self.policy.tokenizer, self.reasoning_tags)
        encoded = [
            (*before, *self.format.answer(thought.answer, ended=ended))
            for before, thought in zip(thoughts, given, strict=True)
        ]
        demonstrations = self._shown(demonstrations)
        contexts = self._contexts(conversation, demonstrations, max(map(len, encoded)))
        unique = list(dict.fromkeys(encoded))
        check_cancelled()
        expert = dict(zip(unique, self.policy.logprobs(contexts.chosen, unique), strict=True))
        answers = tuple(
            Answer(thought.answer, ids, tuple(expert[ids]), None, None, thought.reasoning, len(before))
            for thought, before, ids in zip(given, thoughts, encoded, strict=True)
        )
        return Draft(contexts, tuple(demonstrations), answers)

    def contrasted(self, drafts: Sequence[Draft]) -> list[Draft]:
        """The first half of `rank`, for one or several questions: together if the policy supports it.

        Returns the drafts with the log-probabilities of all answers in the scorer's other context.
        """
        check_cancelled()
        unread = [
            list(dict.fromkeys(one.token_ids for one in draft.answers if one.contrast_logprobs is None))
            for draft in drafts
        ]
        requests = [
            ScoreRequest(draft.contexts.contrast, ids)
            for draft, ids in zip(drafts, unread, strict=True)
            if ids
        ]
        found = iter(logprobs_of_all(self.policy, requests) if requests else [])
        return [
            draft.with_contrast(dict(zip(ids, map(tuple, next(found)), strict=True))) if ids else draft
            for draft, ids in zip(drafts, unread, strict=True)
        ]

    def rank(self, draft: Draft) -> ICDPOResult:
        """The third stage of `generate`: scores the candidates and ranks them, best first."""
        began = time.perf_counter()
        (draft,) = self.contrasted([draft])
        candidates = [
            answer.candidate(self.scorer, answer.contrast_logprobs or (), i)
            for i, answer in enumerate(draft.answers)
        ]
        candidates.sort(key=lambda candidate: -candidate.score)  # stable: ties stay in order
        seconds = time.perf_counter() - began
        return draft.result(candidates, seconds, model=self.policy.name, aggregate=self.scorer.aggregate)

    def select(self, draft: Draft) -> ICDPOResult:
        """The last stages of `generate`: `rank`, and a check that there is an answer.

        Raises:
            NoCandidateError: no candidate can be scored.
        """
        return self.rank(draft).checked()

    def _shown(self, demonstrations: Sequence[RetrievedDemonstration]) -> list[RetrievedDemonstration]:
        return showable(demonstrations, self.scorer.against, required=self.demonstrations_required)

    def _contexts(
        self,
        conversation: Sequence[Message],
        demonstrations: Sequence[RetrievedDemonstration],
        new_tokens: int,
    ) -> Contexts:
        return build_contexts(
            self.format,
            conversation,
            [found.shown for found in demonstrations],
            self.instructions,
            with_rejected=compared_with(self.scorer.against, demonstrations) == "rejected",
            budget=budget_of(self.max_context, new_tokens),
            reasoning_tags=self.reasoning_tags,
        )
