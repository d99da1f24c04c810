"""`ICDPO`: retrieve demonstrations, sample candidates, score them, return the best (arXiv 2402.09320)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from icdpo_chains.answering import answer_all
from icdpo_chains.messages import Conversation, as_conversation, as_responses
from icdpo_chains.pipeline import Pipeline
from icdpo_chains.policies.policy import Policy
from icdpo_chains.policies.sampling import SamplingParams
from icdpo_chains.progress import OnProgress, Stages, in_thread
from icdpo_chains.result import ICDPOResult
from icdpo_chains.scoring import Against, Aggregate
from icdpo_chains.streaming import AnswerChunk, astream, stream

if TYPE_CHECKING:
    import torch

    from icdpo_chains.config import Engine, ICDPOConfig
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["ICDPO"]


class ICDPO(Pipeline):
    """Answers a question with the candidate that the demonstrations made most likely.

    Thread-safe, if policy and retriever are (ours are). The async twins run in a thread and never block the
    event loop; there, progress is reported on the loop. The stages can be had one by one, see `Pipeline`.

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
        finalists: where given, candidates that fall behind are rejected while they are sampled, until this
            many are left: faster for a large `n`, with another answer in some cases (see `docs/speed.md`).
        demonstrations_required: an empty result of the retriever is an error; otherwise the instructions
            alone are shown.
        reasoning_tags: the strings around a model's thoughts; by default those that its tokenizer knows.

    Raises:
        TypeError, ValueError: an argument that can't be used.
    """

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
        finalists: int | None = None,
        dtype: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
        engine: Engine = "transformers",
    ) -> ICDPO:
        """Builds all of it: the default model, the default store with its starter demonstrations.

        Args:
            model: a policy, or the name or path of a model for `from_pretrained` of the engine's policy.
            store: a store, or its directory or address (see `open_store`); by default the user's own
                (`ICDPO_STORE`).
            n: how many candidates are sampled.
            k: how many demonstrations are shown.
            against: see `InstantScorer`.
            aggregate: see `InstantScorer`.
            sampling: see `SamplingParams`.
            finalists: see `ICDPO`.
            dtype: of the model, see `TransformersPolicy.from_pretrained`.
            device: of the model, see `TransformersPolicy.from_pretrained`.
            engine: what computes the model: `"transformers"`, or `"llama.cpp"` for a GGUF file, see
                `LlamaCppPolicy`.

        Raises:
            PolicyError: the model can't be loaded.
            StoreError: the store can't be opened.
            ValueError: a setting out of range, or at odds with another.
            WeightsError: the default models can't be fetched.
        """
        from icdpo_chains.config import ICDPOConfig

        named: dict[str, Any] = {
            "dtype": None if dtype is None else str(dtype).removeprefix("torch."),
            "device": None if device is None else str(device),
        }
        given_policy = None
        if model is None or isinstance(model, (str, Path)):
            named["model"] = None if model is None else str(model)
        else:
            given_policy = model
        given_store = None
        if store is None or isinstance(store, (str, Path)):
            named["store"] = None if store is None else str(store)
        else:
            given_store = store
        config = ICDPOConfig().changed(
            {
                **named,
                "engine": engine,
                "n": n,
                "k": k,
                "against": against,
                "aggregate": aggregate,
                "finalists": finalists,
            }
        )
        built = cls.from_config(config, policy=given_policy, store=given_store)
        if sampling is not None:
            built.sampling = sampling
        return built

    @classmethod
    def from_config(
        cls,
        config: str | Path | ICDPOConfig,
        *,
        policy: Policy | None = None,
        store: DemonstrationStore | None = None,
    ) -> ICDPO:
        """Builds all of it from a file of settings, such as `icdpo tune` writes.

        Args:
            config: the file, or its content.
            policy: in place of the model that the settings name.
            store: in place of the store that they name.

        Raises:
            InvalidInputError: the file holds no such settings.
            OSError: it can't be read.
            PolicyError, StoreError, WeightsError: as `from_defaults`.
        """
        from icdpo_chains.config import ICDPOConfig

        if not isinstance(config, ICDPOConfig):
            config = ICDPOConfig.read(config)
        retriever = config.build_retriever(config.open_store() if store is None else store)
        if policy is None:
            policy = config.build_policy()
        return cls(
            policy,
            retriever,
            config.build_scorer(),
            n=config.n,
            k=config.k,
            sampling=config.sampling.params(),
            instructions=config.build_instructions(),
            finalists=config.finalists,
            demonstrations_required=config.build_threshold().leaves_some,
        )

    def generate(
        self,
        prompt: Conversation,
        *,
        n: int | None = None,
        k: int | None = None,
        sampling: SamplingParams | None = None,
        seed: int | None = None,
        exclude: Collection[str] = (),
        finalists: int | None = None,
        on_progress: OnProgress | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> ICDPOResult:
        """Answers a question.

        Args:
            prompt: a string, or messages that end where the assistant is to answer.
            n: how many candidates are sampled.
            k: how many demonstrations are shown.
            sampling: how candidates are sampled, in place of the instance's own.
            seed: makes the answer reproducible; goes before the seed in `sampling`.
            exclude: ids of demonstrations that must not be shown.
            finalists: how many candidates are sampled to the end, in place of the instance's own.
            on_progress: called after each stage.
            on_text: with one candidate, called with the answer so far each time that it has grown, in the
                thread that samples; must not raise. See `stream`.

        Raises:
            InvalidInputError: the prompt is blank or not valid Unicode.
            NoDemonstrationsError: the retriever finds none.
            MissingRejectedError: the scorer needs rejected answers, and no demonstration has one.
            ContextOverflowError: the conversation does not fit the model.
            NoCandidateError: no candidate can be scored.
            TypeError, ValueError: an argument that can't be used.
        """
        (result,) = answer_all(
            self,
            [prompt],
            return_exceptions=False,
            n=n,
            k=k,
            sampling=sampling,
            seed=seed,
            exclude=exclude,
            finalists=finalists,
            on_progress=on_progress,
            on_text=on_text,
        )
        assert isinstance(result, ICDPOResult)  # noqa: S101 - errors are raised
        return result

    def stream(self, prompt: Conversation, **options: Any) -> Generator[AnswerChunk, None, None]:
        """`generate` that yields the answer in pieces; the options are the same.

        With `n=1`, text comes as it is sampled: never half a character, and no part of a stop string. With
        more candidates, or a policy that can't stream, the answer comes whole. The last chunk has the result.
        Closing the iterator cancels the answer.
        """
        return stream(self.generate, prompt, options)

    @overload
    def generate_batch(
        self, prompts: Sequence[Conversation], *, return_exceptions: Literal[False] = False, **options: Any
    ) -> list[ICDPOResult]: ...

    @overload
    def generate_batch(
        self, prompts: Sequence[Conversation], *, return_exceptions: bool, **options: Any
    ) -> list[ICDPOResult] | list[ICDPOResult | Exception]: ...

    def generate_batch(
        self, prompts: Sequence[Conversation], *, return_exceptions: bool = False, **options: Any
    ) -> list[ICDPOResult] | list[ICDPOResult | Exception]:
        """Answers several questions, in this order; equal to one `generate` each, and faster.

        Their candidates are sampled together, where the policy can do that (see `BatchPolicy`).

        Args:
            prompts: the questions. All are checked before the first is answered.
            return_exceptions: an error takes the place of its question's result, and the others are answered.
            options: those of `generate`, for all of them; a seed is used for each question anew.

        Raises:
            ICDPOError, TypeError, ValueError: as `generate`, unless errors are returned.
        """
        if "on_text" in options:
            raise TypeError("generate_batch() takes no on_text: ask one question by generate() or stream()")
        return answer_all(self, prompts, return_exceptions=return_exceptions, **options)

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
        result = self.rank(self.encode(conversation, found, responses, ended=ended))
        stages.done("scored", candidates=result.candidates)
        return replace(result, timings=stages.timings())

    async def agenerate(self, prompt: Conversation, **options: Any) -> ICDPOResult:
        """`generate` in a thread; the options are the same."""
        return await in_thread(self.generate, prompt, **options)

    def astream(self, prompt: Conversation, **options: Any) -> AsyncGenerator[AnswerChunk, None]:
        """`stream` that never blocks the event loop; the options are the same."""
        return astream(self.generate, prompt, options)

    @overload
    async def agenerate_batch(
        self, prompts: Sequence[Conversation], *, return_exceptions: Literal[False] = False, **options: Any
    ) -> list[ICDPOResult]: ...

    @overload
    async def agenerate_batch(
        self, prompts: Sequence[Conversation], *, return_exceptions: bool, **options: Any
    ) -> list[ICDPOResult] | list[ICDPOResult | Exception]: ...

    async def agenerate_batch(
        self, prompts: Sequence[Conversation], *, return_exceptions: bool = False, **options: Any
    ) -> list[ICDPOResult] | list[ICDPOResult | Exception]:
        """`generate_batch` in a thread; the options are the same."""
        return await in_thread(self.generate_batch, prompts, return_exceptions=return_exceptions, **options)

    async def ascore(self, prompt: Conversation, responses: Sequence[str], **options: Any) -> ICDPOResult:
        """`score` in a thread; the options are the same."""
        return await in_thread(self.score, prompt, responses, **options)
