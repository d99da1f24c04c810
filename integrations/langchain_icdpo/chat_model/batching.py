"""`Batch`: several prompts answered by one call of the core, each in a LangChain run of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import ContextVar, Token
from typing import Any

from langchain_core.globals import get_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables.config import get_config_list

from icdpo_chains.errors import ICDPOError
from icdpo_chains.messages import Message
from icdpo_chains.result import ICDPOResult
from langchain_icdpo.chat_model.call import Call

__all__ = ["Batch"]

_current: ContextVar[Batch | None] = ContextVar("icdpo_batch", default=None)


class Batch:
    """The prompts of one `batch` or `abatch`, and their results.

    LangChain makes one run (callbacks, traces, ids) for each prompt. The core therefore answers all prompts
    first, and each run takes its result from here. A prompt that can't be answered this way (it is invalid, a
    cache may contain its answer, a rate limit applies) is answered in its own run and raises its error there.

    Args:
        chat: the chat model.
        prepare: builds a `Call` from a prompt and the keyword arguments.
        inputs: the prompts.
        config: one for all prompts, or one for each.
        kwargs: the keyword arguments of the calls.
        return_exceptions: return an error in place of its answer instead of raising it.
    """

    def __init__(
        self,
        chat: BaseChatModel,
        prepare: Callable[[Any, dict[str, Any]], Call],
        inputs: Any,
        config: Any,
        kwargs: dict[str, Any],
        return_exceptions: bool,
    ) -> None:
        self._chat = chat
        self._make_call = prepare
        self._inputs = list(inputs)
        self._configs = get_config_list(config, len(self._inputs)) if self._inputs else []
        self._return_exceptions = return_exceptions
        self._outcomes: dict[tuple[Message, ...], deque[ICDPOResult | Exception]] = {}
        self._token: Token[Batch | None] | None = None
        self._prompts: list[tuple[Message, ...]] = []
        self._call: Call | None = None
        if len(self._inputs) > 1 and not self._one_by_one():
            self._prepare(kwargs)

    def _one_by_one(self) -> bool:
        cached = self._chat.cache is not False and (self._chat.cache or get_llm_cache())
        return bool(cached) or self._chat.rate_limiter is not None

    def _prepare(self, kwargs: dict[str, Any]) -> None:
        for value in self._inputs:
            try:
                self._call = self._make_call(value, kwargs)
                self._prompts.append(self._call.conversation)
            except (ICDPOError, ValueError, TypeError):
                continue  # the prompt's own run raises it again

    def keep(self) -> None:
        """Answers the prompts and stores the outcomes for their runs."""
        if self._call is not None:
            self._sort(
                self._call.icdpo.generate_batch(self._prompts, return_exceptions=True, **self._call.options)
            )

    async def akeep(self) -> None:
        """`keep`, in a thread."""
        if self._call is not None:
            self._sort(
                await self._call.icdpo.agenerate_batch(
                    self._prompts, return_exceptions=True, **self._call.options
                )
            )

    def _sort(self, outcomes: Sequence[ICDPOResult | Exception]) -> None:
        for prompt, outcome in zip(self._prompts, outcomes, strict=True):
            self._outcomes.setdefault(prompt, deque()).append(outcome)

    @staticmethod
    def answered(chat: BaseChatModel, conversation: tuple[Message, ...]) -> ICDPOResult | None:
        """Takes a prompt's result out of a batch of this model, or raises its error."""
        batch = _current.get()
        if batch is None or batch._chat is not chat:
            return None
        waiting = batch._outcomes.get(conversation)
        outcome = waiting.popleft() if waiting else None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return iter(zip(self._inputs, self._configs, strict=True))

    def outcome(self, invoke: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Returns the result of one run, or its error if `return_exceptions` is set."""
        try:
            return invoke(*args, **kwargs)
        except Exception as error:
            if not self._return_exceptions:
                raise
            return error

    async def aoutcome(self, invoke: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        """`outcome` for an asynchronous run."""
        try:
            return await invoke(*args, **kwargs)
        except Exception as error:
            if not self._return_exceptions:
                raise
            return error

    def __enter__(self) -> Batch:
        self._token = _current.set(self)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._token is not None:
            _current.reset(self._token)
