"""`ICDPO`: retrieve demonstrations, sample candidates, score them, return the best (arXiv 2402.09320)."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icdpo_chains.demonstrations.retrieval import RetrievedDemonstration, Retriever
from icdpo_chains.errors import ContextOverflowError, NoCandidateError, NoDemonstrationsError
from icdpo_chains.messages import Conversation, Message, as_conversation, as_responses
from icdpo_chains.policies.policy import Policy
from icdpo_chains.policies.sampling import MAX_CANDIDATES, SamplingParams, check_count
from icdpo_chains.progress import OnProgress, Stages, in_thread
from icdpo_chains.prompts.contexts import Contexts, Instructions, build_contexts
from icdpo_chains.prompts.formats import PromptFormat, prompt_format
from icdpo_chains.result import Answer, Draft, ICDPOResult, Usage
from icdpo_chains.scoring import Against, Aggregate, InstantScorer

if TYPE_CHECKING:
    import torch

    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["ICDPO"]


class ICDPO:
    """Answers a question with the candidate that the demonstrations made most likely.

    Thread-safe, if policy and retriever are (ours are). The async twins run in a thread and never block the
    event loop; there, progress is reported on the loop.

    Args:
        policy: the language model.
        retriever: finds demonstrations.
        scorer: the instant scorer; by default against rejected answers, per token.
        n: how many candidates are sampled, unless a call says otherwise.
        k: how many demonstrations are shown; `None` leaves it to the retriever.
        sampling: how candidates are sampled.
        instructions: what stands before chosen and before rejected answers.
        format: how texts are laid out; by default the tokenizer's chat template if it has one.
        max_context: the most tokens that context and answer may have; the model's own limit holds as well.

    Raises:
        TypeError, ValueError: an argument that can't be used.
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
    ) -> None:
        self.policy = policy
        self.retriever = retriever
        self.scorer = scorer or InstantScorer()
        self.n = check_count(n, "n", MAX_CANDIDATES)
        self.k = k if k is None else check_count(k, "k", 10_000)
        self.sampling = sampling or SamplingParams()
        self.instructions = instructions or Instructions()
        self.format = format or prompt_format(policy.tokenizer, policy.eos_token_ids)
        limits = [limit for limit in (policy.max_context, max_context) if limit is not None]
        self.max_context = min(limits, default=None)

    @classmethod
    def from_defaults(
        cls,
        model: str | Path | Policy | None = None,
        *,
        store: str | Path | DemonstrationStore | None = None,
        n: int = 8,
        k: int = 2,
        against: Against = "rejected",
        aggregate: Aggregate = "mean",
        sampling: SamplingParams | None = None,
        dtype: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
    ) -> ICDPO:
        """Builds all of it: the default model, the default store with its starter demonstrations.

        Args:
            model: a policy, or the name or path of a model for `TransformersPolicy.from_pretrained`.
            store: a store, or the directory of one; by default the user's own (`ICDPO_STORE`).
            n: how many candidates are sampled.
            k: how many demonstrations are shown.
            against: see `InstantScorer`.
            aggregate: see `InstantScorer`.
            sampling: see `SamplingParams`.
            dtype: of the model, see `TransformersPolicy.from_pretrained`.
            device: of the model, likewise.

        Raises:
            PolicyError: the model can't be loaded.
            StoreError: the store can't be opened.
            WeightsError: the default models can't be fetched.
        """
        from icdpo_chains.demonstrations.default_store import open_default_store
        from icdpo_chains.demonstrations.retrieval import TwoStageRetriever
        from icdpo_chains.demonstrations.store import DemonstrationStore
        from icdpo_chains.policies.transformers import TransformersPolicy

        scorer = InstantScorer(against, aggregate)
        if store is None:
            store = open_default_store(read_only=True)
        elif isinstance(store, (str, Path)):
            store = DemonstrationStore(store, read_only=True)
        retriever = TwoStageRetriever(store, k=k, require_rejected=against == "rejected")
        if model is None or isinstance(model, (str, Path)):
            model = TransformersPolicy.from_pretrained(model, dtype=dtype, device=device)
        return cls(model, retriever, scorer, n=n, k=k, sampling=sampling)

    def generate(
        self,
        prompt: Conversation,
        *,
        n: int | None = None,
        k: int | None = None,
        sampling: SamplingParams | None = None,
        seed: int | None = None,
        exclude: Collection[str] = (),
        on_progress: OnProgress | None = None,
    ) -> ICDPOResult:
        """Answers a question.

        Args:
            prompt: a string, or messages that end where the assistant is to answer.
            n: how many candidates are sampled.
            k: how many demonstrations are shown.
            sampling: how candidates are sampled, in place of the instance's own.
            seed: makes the answer reproducible; goes before the seed in `sampling`.
            exclude: ids of demonstrations that must not be shown.
            on_progress: called after each stage.

        Raises:
            InvalidInputError: the prompt is blank or not valid Unicode.
            NoDemonstrationsError: the retriever finds none.
            MissingRejectedError: the scorer needs rejected answers, and a demonstration has none.
            ContextOverflowError: the conversation does not fit the model.
            NoCandidateError: no candidate can be scored.
            TypeError, ValueError: an argument that can't be used.
        """
        stages = Stages(on_progress)
        conversation = as_conversation(prompt)
        n = self.n if n is None else check_count(n, "n", MAX_CANDIDATES)
        found = self.retrieve(conversation, k=k, exclude=exclude)
        stages.done("retrieved", demonstrations=tuple(found))
        draft = self.sample(conversation, found, n=n, sampling=sampling, seed=seed)
        stages.done("sampled", answers=draft.answers)
        result = self.select(draft)
        stages.done("scored", candidates=result.candidates)
        return replace(result, timings=stages.timings())

    def generate_batch(self, prompts: Sequence[Conversation], **options: Any) -> list[ICDPOResult]:
        """Answers several questions, in this order; equal to one `generate` each.

        Args:
            prompts: the questions. All are checked before the first is answered.
            options: those of `generate`, for all of them; a seed is used for each question anew.

        Raises:
            ICDPOError, TypeError, ValueError: as `generate`.
        """
        conversations = [as_conversation(prompt) for prompt in prompts]
        return [self.generate(conversation, **options) for conversation in conversations]

    def score(
        self,
        prompt: Conversation,
        responses: Sequence[str],
        *,
        k: int | None = None,
        exclude: Collection[str] = (),
        ended: bool = True,
        on_progress: OnProgress | None = None,
    ) -> ICDPOResult:
        """Ranks answers that came from anywhere.

        Args:
            prompt: a string, or messages that end where the assistant is to answer.
            responses: the answers. A blank one is ranked last, with a score of -infinity.
            k: how many demonstrations are shown.
            exclude: ids of demonstrations that must not be shown.
            ended: the answers are complete, so that the end token is scored with them, as it is with a
                candidate that ended by itself.
            on_progress: called after each stage.

        Returns:
            The responses as candidates, best first; `index` is the place in `responses`.

        Raises:
            InvalidInputError, NoDemonstrationsError, MissingRejectedError, ContextOverflowError: as
                `generate`.
            TypeError, ValueError: no response, or one that is not a string.
        """
        stages = Stages(on_progress)
        conversation = as_conversation(prompt)
        responses = as_responses(responses)
        found = self.retrieve(conversation, k=k, exclude=exclude)
        stages.done("retrieved", demonstrations=tuple(found))
        encoded = [tuple(self.format.answer(response, ended=ended)) for response in responses]
        contexts = self._contexts(conversation, found, max(map(len, encoded)))
        unique = list(dict.fromkeys(encoded))
        expert = dict(zip(unique, self.policy.logprobs(contexts.chosen, unique), strict=True))
        answers = tuple(
            Answer(response, ids, tuple(expert[ids]), None)
            for response, ids in zip(responses, encoded, strict=True)
        )
        result = self._scored(Draft(contexts, tuple(found), answers))
        stages.done("scored", candidates=result.candidates)
        return replace(result, timings=stages.timings())

    def retrieve(
        self, prompt: Conversation, *, k: int | None = None, exclude: Collection[str] = ()
    ) -> list[RetrievedDemonstration]:
        """The first stage of `generate`: finds demonstrations, best first.

        Raises:
            InvalidInputError, NoDemonstrationsError, TypeError, ValueError: as `generate`.
        """
        k = self.k if k is None else check_count(k, "k", 10_000)
        found = self.retriever.retrieve(as_conversation(prompt), k, exclude=exclude)
        if not found:
            raise NoDemonstrationsError(
                "the retriever found no demonstration, and without any there is nothing to align with: add "
                "some to the store (`icdpo import FILE`), or exclude fewer"
            )
        return found

    def sample(
        self,
        prompt: Conversation,
        demonstrations: Sequence[RetrievedDemonstration],
        *,
        n: int | None = None,
        sampling: SamplingParams | None = None,
        seed: int | None = None,
    ) -> Draft:
        """The second stage of `generate`: samples candidates with the chosen answers in context.

        Args:
            prompt: the question.
            demonstrations: what `retrieve` found, or others, best first.
            n: how many candidates.
            sampling: in place of the instance's own.
            seed: goes before the seed in `sampling`.

        Raises:
            InvalidInputError, MissingRejectedError, ContextOverflowError: as `generate`.
            TypeError, ValueError: as `generate`.
        """
        conversation = as_conversation(prompt)
        n = self.n if n is None else check_count(n, "n", MAX_CANDIDATES)
        sampling = sampling or self.sampling
        if seed is None:
            # Drawn here, so that the result can name it and any answer can be had again.
            seed = secrets.randbits(32) if sampling.seed is None else sampling.seed
        contexts = self._contexts(conversation, demonstrations, sampling.max_new_tokens)
        stop = (*self.format.stop, *sampling.stop)
        samples = self.policy.sample(contexts.chosen, n, replace(sampling, seed=seed, stop=stop))
        answers = tuple(
            # The log-probabilities were recorded while sampling: the expert side of the score is free.
            Answer(self.format.answer_text(item.text), item.token_ids, item.logprobs, item.finish_reason)
            for item in samples
        )
        return Draft(contexts, tuple(demonstrations), answers, seed)

    def select(self, draft: Draft) -> ICDPOResult:
        """The last stage of `generate`: scores the candidates and ranks them, best first.

        Raises:
            NoCandidateError: none of them can be scored.
        """
        result = self._scored(draft)
        if result.best.score == -math.inf:
            raise NoCandidateError(
                f"none of the {len(draft.answers)} candidates can be scored: they are blank, or their "
                "log-probabilities are not finite. Sample more (n), or longer ones (min_new_tokens), or load "
                "the model in float32"
            )
        return result

    async def agenerate(self, prompt: Conversation, **options: Any) -> ICDPOResult:
        """`generate` in a thread; the options are the same."""
        return await in_thread(self.generate, prompt, **options)

    async def agenerate_batch(self, prompts: Sequence[Conversation], **options: Any) -> list[ICDPOResult]:
        """`generate_batch` in a thread; the options are the same."""
        return await in_thread(self.generate_batch, prompts, **options)

    async def ascore(self, prompt: Conversation, responses: Sequence[str], **options: Any) -> ICDPOResult:
        """`score` in a thread; the options are the same."""
        return await in_thread(self.score, prompt, responses, **options)

    def _contexts(
        self,
        conversation: Sequence[Message],
        demonstrations: Sequence[RetrievedDemonstration],
        new_tokens: int,
    ) -> Contexts:
        budget = None if self.max_context is None else self.max_context - new_tokens
        if budget is not None and budget < 1:
            raise ContextOverflowError(
                f"an answer of {new_tokens} tokens leaves no room in the {self.max_context} tokens that the "
                "model can read: ask for fewer new tokens, or shorten the response"
            )
        return build_contexts(
            self.format,
            conversation,
            [found.demonstration for found in demonstrations],
            self.instructions,
            with_rejected=self.scorer.against == "rejected",
            budget=budget,
        )

    def _scored(self, draft: Draft) -> ICDPOResult:
        began = time.perf_counter()
        contexts = draft.contexts
        other = contexts.base if contexts.rejected is None else contexts.rejected
        unique = list(dict.fromkeys(answer.token_ids for answer in draft.answers))
        contrast = dict(zip(unique, self.policy.logprobs(other, unique), strict=True))
        candidates = [
            answer.candidate(self.scorer.score(answer.logprobs, contrast[answer.token_ids]), i)
            for i, answer in enumerate(draft.answers)
        ]
        candidates.sort(key=lambda candidate: -candidate.score)  # stable: ties stay in order
        return ICDPOResult(
            candidates=tuple(candidates),
            demonstrations=draft.demonstrations[: len(contexts.used)],
            dropped=contexts.dropped,
            usage=Usage(
                prompt_tokens=len(contexts.chosen),
                contrast_tokens=len(other),
                completion_tokens=sum(len(answer.token_ids) for answer in draft.answers),
            ),
            timings={"score": time.perf_counter() - began},
            model=self.policy.name,
            against=self.scorer.against,
            aggregate=self.scorer.aggregate,
            seed=draft.seed,
        )
