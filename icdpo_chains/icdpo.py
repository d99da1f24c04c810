"""`ICDPO`: retrieve demonstrations, sample candidates, score them, return the best (arXiv 2402.09320)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from icdpo_chains.answering import answer_all, answer_one, rank_given
from icdpo_chains.messages import Conversation
from icdpo_chains.pipeline import Pipeline
from icdpo_chains.policies.policy import Policy
from icdpo_chains.policies.sampling import SamplingParams
from icdpo_chains.progress import OnProgress, in_thread
from icdpo_chains.prompts.thinking import Thinking
from icdpo_chains.result import ICDPOResult
from icdpo_chains.scoring import Against, Aggregate
from icdpo_chains.streaming import AnswerChunk, astream, stream

if TYPE_CHECKING:
    import torch

    from icdpo_chains.config import ICDPOConfig
    from icdpo_chains.demonstrations.store import DemonstrationStore
    from icdpo_chains.policies.engines import EngineName

__all__ = ["ICDPO"]


class ICDPO(Pipeline):
    """Answers a question with the candidate that the demonstrations made most likely.

    An ICDPO is as thread-safe as its policy and its retriever; those of this package are. The asynchronous
    methods run in a thread, and report progress on the event loop. `Pipeline` documents the arguments.
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
        aggregate: Aggregate = "sum",
        sampling: SamplingParams | None = None,
        finalists: int | None = None,
        dtype: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
        engine: EngineName = "transformers",
        chat_template_kwargs: dict[str, Any] | None = None,
        thinking: Thinking | None = None,
        reasoning_tags: Any = None,
    ) -> ICDPO:
        """Builds an ICDPO; by default with the default model and the starter demonstrations.

        Args:
            model: a policy, or the name or path of a model for the engine's policy.
            store: a store, or its directory or address (see `open_store`); by default the user's own store.
            n: the number of candidates.
            k: the number of demonstrations shown.
            against: see `InstantScorer`.
            aggregate: see `InstantScorer`.
            sampling: see `SamplingParams`.
            finalists: see `ICDPO`.
            dtype: the model's dtype; see `TransformersPolicy.from_pretrained`.
            device: the model's device; see `TransformersPolicy.from_pretrained`.
            engine: `"transformers"`, or `"llama.cpp"` for a GGUF file (see `LlamaCppPolicy`).
            chat_template_kwargs: see `Pipeline`.
            thinking: see `Pipeline`.
            reasoning_tags: see `Pipeline`.

        Raises:
            PolicyError, StoreError: the model or the store can't be opened.
            ValueError: a setting is out of range or contradicts another setting.
            WeightsError: the default models can't be fetched.
        """
        from icdpo_chains.config import ICDPOConfig

        config = ICDPOConfig().changed(
            {
                "model": str(model) if isinstance(model, (str, Path)) else None,
                "engine": engine,
                "dtype": None if dtype is None else str(dtype),
                "device": None if device is None else str(device),
                "store": str(store) if isinstance(store, (str, Path)) else None,
                "n": n,
                "k": k,
                "against": against,
                "aggregate": aggregate,
                "finalists": finalists,
                "chat_template_kwargs": chat_template_kwargs,
                "thinking": thinking,
                "reasoning_tags": reasoning_tags,
            }
        )
        built = cls.from_config(
            config,
            policy=None if model is None or isinstance(model, (str, Path)) else model,
            store=None if store is None or isinstance(store, (str, Path)) else store,
        )
        built.sampling = sampling or built.sampling
        return built

    @classmethod
    def from_config(
        cls,
        config: str | Path | ICDPOConfig,
        *,
        policy: Policy | None = None,
        store: DemonstrationStore | None = None,
    ) -> ICDPO:
        """Builds an ICDPO from a config, such as the file that `icdpo tune` writes.

        Args:
            config: the config, or the path of its file.
            policy: replaces the model that the config names.
            store: replaces the store that the config names.

        Raises:
            InvalidInputError: the file has no valid config.
            OSError: the file can't be read.
            PolicyError, StoreError, WeightsError: see `from_defaults`.
        """
        from icdpo_chains.config import ICDPOConfig

        config = config if isinstance(config, ICDPOConfig) else ICDPOConfig.read(config)
        retriever = config.build_retriever(config.open_store() if store is None else store)
        return cls(
            config.build_policy() if policy is None else policy,
            retriever,
            config.build_scorer(),
            n=config.n,
            k=config.k,
            sampling=config.sampling.params(),
            instructions=config.build_instructions(),
            finalists=config.finalists,
            chat_template_kwargs=config.chat_template_kwargs,
            thinking=config.thinking,
            reasoning_tags=config.reasoning_tags,
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
        chat_template_kwargs: Mapping[str, Any] | None = None,
        thinking: Thinking | None = None,
        on_progress: OnProgress | None = None,
        on_text: Callable[[str], None] | None = None,
        on_thought: Callable[[str], None] | None = None,
    ) -> ICDPOResult:
        """Answers a question.

        Args:
            prompt: a string, or messages that end before the assistant's answer.
            n: the number of candidates.
            k: the number of demonstrations shown.
            sampling: replaces the instance's sampling parameters.
            seed: makes the answer reproducible; overrides the seed in `sampling`.
            exclude: ids of demonstrations that must not be shown.
            finalists: replaces the instance's number of candidates that are sampled to the end.
            chat_template_kwargs: further keywords for the chat template.
            thinking: whether the model thinks, in place of the instance's setting.
            on_progress: a function that is called after each stage.
            on_text: with one candidate, receives the growing answer, in the sampling thread; must not raise.
            on_thought: with `on_text`, receives the whole thought before the first text.

        Raises:
            InvalidInputError: the prompt is blank or not valid Unicode.
            NoDemonstrationsError: the retriever finds no demonstration.
            MissingRejectedError: the scorer needs rejected answers, and a demonstration has none.
            ContextOverflowError: the conversation does not fit the model.
            PromptError: the chat template can't show the conversation, or has no such keyword or switch.
            NoCandidateError: no candidate can be scored.
            TypeError, ValueError: an argument is of the wrong type or out of range.
        """
        return answer_one(
            self,
            prompt,
            n=n,
            k=k,
            sampling=sampling,
            seed=seed,
            exclude=exclude,
            finalists=finalists,
            chat_template_kwargs=chat_template_kwargs,
            thinking=thinking,
            on_progress=on_progress,
            on_text=on_text,
            on_thought=on_thought,
        )

    def stream(self, prompt: Conversation, **options: Any) -> Generator[AnswerChunk, None, None]:
        """Answers a question in pieces; takes the options of `generate`.

        With `n=1`, the text arrives as it is sampled: no chunk contains half a character or a part of a stop
        string, and a thought comes before the text. With more candidates, or with a policy that can't
        stream, the answer arrives whole. The last chunk has the result. Closing the iterator cancels the
        answer.
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
        """Answers several questions; the results equal those of `generate` for each, and come faster.

        Args:
            prompts: the questions. All are checked before the first is answered, and a `BatchPolicy` samples
                the candidates of all together.
            return_exceptions: returns a question's error in place of its result.
            options: options of `generate` for all questions; each question starts from the same seed.

        Raises:
            ICDPOError, TypeError, ValueError: see `generate`; raised unless `return_exceptions` is set.
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
        chat_template_kwargs: Mapping[str, Any] | None = None,
        thinking: Thinking | None = None,
        on_progress: OnProgress | None = None,
    ) -> ICDPOResult:
        """Ranks given answers.

        Args:
            prompt: a string, or messages that end before the assistant's answer.
            responses: the answers. A blank answer ranks last, with a score of -infinity.
            k: the number of demonstrations shown.
            exclude: ids of demonstrations that must not be shown.
            ended: whether the answers are complete: the end token then counts too.
            chat_template_kwargs: further keywords for the chat template.
            thinking: whether the model thinks, in place of the instance's setting.
            on_progress: a function that is called after each stage.

        Returns:
            The answers as candidates, best first; `index` is an answer's place in `responses`.

        Raises:
            ICDPOError: see `generate`.
            TypeError, ValueError: there is no response, or a response is not a string.
        """
        chat = self.with_chat_template_kwargs(chat_template_kwargs, thinking)
        return rank_given(chat, prompt, responses, k, exclude, ended, on_progress)

    async def agenerate(self, prompt: Conversation, **options: Any) -> ICDPOResult:
        """Runs `generate` in a thread; takes the same options."""
        return await in_thread(self.generate, prompt, **options)

    def astream(self, prompt: Conversation, **options: Any) -> AsyncGenerator[AnswerChunk, None]:
        """Streams without blocking the event loop; takes the options of `stream`."""
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
        """Runs `generate_batch` in a thread; takes the same options."""
        return await in_thread(self.generate_batch, prompts, return_exceptions=return_exceptions, **options)

    async def ascore(self, prompt: Conversation, responses: Sequence[str], **options: Any) -> ICDPOResult:
        """Runs `score` in a thread; takes the same options."""
        return await in_thread(self.score, prompt, responses, **options)
