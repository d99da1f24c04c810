"""`ChatICDPO`: ICDPO as a LangChain chat model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from icdpo_chains.errors import PromptError
from icdpo_chains.framework_settings import CALL_SETTINGS, ICDPOSettings
from icdpo_chains.prompts.encoding import TextEncoder
from langchain_icdpo.chat_model.batching import Batch
from langchain_icdpo.chat_model.cache_key import cache_key
from langchain_icdpo.chat_model.call import Call
from langchain_icdpo.chat_model.progress_events import ProgressEvents
from langchain_icdpo.chat_model.streaming import astreamed, message_chunks, streamed
from langchain_icdpo.chat_model.structured_output import structured
from langchain_icdpo.chat_model.tool_calls import tool_options
from langchain_icdpo.messages import to_conversation

__all__ = ["ChatICDPO"]

# Standard LangChain parameters of remote models. They have no effect on a model in this process,
# and are accepted so that one set of parameters can build any chat model.
_REMOTE = ("api_key", "base_url", "max_retries", "timeout")


class ChatICDPO(ICDPOSettings, BaseChatModel):
    """A local chat model whose answers are the best of n, chosen by the instant scorer.

    Without arguments, the first answer builds the default model, the default store and its starter
    demonstrations. The settings are those of `ICDPOSettings`. All of `n`, `k`, `finalists`, `max_tokens`,
    `min_tokens`, `temperature`, `top_p`, `top_k`, `repetition_penalty`, `stop`, `seed`, `decoding`,
    `guidance`, `alpha`, `max_thinking_tokens`, `chat_template_kwargs`, `thinking` may also be given to a
    single call or to `bind`, and so may `exclude`: ids of demonstrations that must not be shown.

    The answer has all candidates, their scores and the demonstrations in `response_metadata["icdpo"]`.
    With `n=1` a stream emits text as it is sampled. With more candidates, or if the answer must be a tool
    call or JSON, it emits the chosen answer as a whole. The chunk with the end of the text has the metadata.

    Attributes:
        streaming: `invoke` streams to the handlers; the answer is the same.

    Raises:
        ValueError: a setting is out of range, unknown, or contradicts another setting (pydantic's
            `ValidationError`).
    """

    model_config = ConfigDict(extra="forbid")

    # Makes `create_agent(response_format=...)` ask for JSON itself. Its other way is a tool, and needs a
    # template that shows tools.
    profile: ModelProfile | None = Field(
        default_factory=lambda: ModelProfile(structured_output=True), exclude=True
    )

    streaming: bool = False

    _encoder: TextEncoder | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_remote_parameters(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if name not in _REMOTE}

    def batch(  # type: ignore[override]
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage | Exception]:
        """Answers several prompts in one batch, each in a run of its own; see `Runnable.batch`."""
        with Batch(self, self._call, inputs, config, kwargs, return_exceptions) as batch:
            batch.keep()
            return [batch.outcome(self.invoke, *each, **kwargs) for each in batch]

    async def abatch(  # type: ignore[override]
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage | Exception]:
        """`batch` without blocking the event loop."""
        with Batch(self, self._call, inputs, config, kwargs, return_exceptions) as batch:
            await batch.akeep()
            return [await batch.aoutcome(self.ainvoke, *each, **kwargs) for each in batch]

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Returns the model with tools that it may call. Its chat template must have a place for tools.

        Args:
            tools: the tools, in any form that LangChain accepts.
            tool_choice: `"auto"`, `"any"`, `"none"` or the name of a tool. Candidates that make such a call
                are preferred; if no candidate does, the best candidate is returned.
            strict: passed to the tools' schemas.
            kwargs: further arguments to bind; `parallel_tool_calls=False` prefers candidates with at most one
                call.

        Raises:
            ValueError: `tool_choice` is not the name of one of the tools.
        """
        return self.bind(**tool_options(tools, tool_choice, strict=strict), **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: str = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Returns the model followed by a parser; candidates that fit the schema are preferred.

        Args:
            schema: a Pydantic class, a `TypedDict`, a JSON schema or an OpenAI tool.
            include_raw: return `{"raw", "parsed", "parsing_error"}`.
            method: `"json_schema"` (any model), `"function_calling"` (models that call tools) or
                `"json_mode"` (any JSON; the prompt must describe it).
            strict: for `"function_calling"`, passed to the tool's schema.
            kwargs: not supported.

        Raises:
            ValueError: the method or an option is unknown.
        """
        return structured(self, schema, method, include_raw=include_raw, strict=strict, options=kwargs)

    def get_token_ids(self, text: str) -> list[int]:
        """Returns the ids of a text under the model's own tokenizer."""
        if self._encoder is None:
            self._encoder = TextEncoder(self.core.policy.tokenizer)
        return self._encoder.text(text)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Returns the number of tokens of messages in the model's template, without demonstrations."""
        if not messages:
            return 0
        core = self.core
        if tools:
            core = Call.with_tools(core, tool_options(tools)["tools"])
        form = core.format
        try:
            return len(form.context(to_conversation(messages), [], None))
        except PromptError:  # the template refuses this part of a conversation on its own
            return sum(len(self.get_token_ids(turn.text)) for turn in to_conversation(messages))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = self._answer(messages, stop, run_manager, kwargs)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = await self._aanswer(messages, stop, run_manager, kwargs)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = self._call(messages, {**kwargs, "stop": stop})
        for piece in streamed(call, Batch.answered(self, call.conversation), run_manager):
            for chunk in message_chunks(call, piece):
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = self._call(messages, {**kwargs, "stop": stop})
        pieces = astreamed(call, Batch.answered(self, call.conversation), run_manager)
        async with aclosing(pieces):
            async for piece in pieces:
                for chunk in message_chunks(call, piece):
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk

    def _answer(self, messages: Any, stop: Any, run_manager: Any, kwargs: dict[str, Any]) -> AIMessage:
        call = self._call(messages, {**kwargs, "stop": stop})
        result = Batch.answered(self, call.conversation)
        if result is None:
            on_progress = ProgressEvents(run_manager).on_progress
            result = call.icdpo.generate(call.conversation, **call.options, on_progress=on_progress)
        return call.message(result)

    async def _aanswer(self, messages: Any, stop: Any, run_manager: Any, kwargs: dict[str, Any]) -> AIMessage:
        call = self._call(messages, {**kwargs, "stop": stop})
        result = Batch.answered(self, call.conversation)
        if result is None:
            events = ProgressEvents(run_manager)
            result = await call.icdpo.agenerate(
                call.conversation, **call.options, on_progress=events.on_async_progress
            )
            await events.sent()
        return call.message(result)

    def _call(self, prompt: Any, given: dict[str, Any]) -> Call:
        return Call.prepared(self, to_conversation(prompt), given)

    @property
    def _llm_type(self) -> str:
        return "icdpo"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = ("model", "revision", "against", "aggregate", "dtype", "device", *CALL_SETTINGS)
        params = {name: getattr(self, name) for name in names}
        if self.icdpo is not None:
            scorer = self.icdpo.scorer
            params.update(against=scorer.against, aggregate=scorer.aggregate)
        return params

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # The settings alone do not determine an answer: the demonstrations change too. A
        # stop of None in the call would hide the model's own.
        own = list(self.stop) if self.stop and not stop else stop
        return f"{super()._get_llm_string(stop=own, **kwargs)} {cache_key(self.core)}"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        sampling = self.sampling({**kwargs, "stop": stop})
        params = LangSmithParams(
            ls_provider="icdpo",
            ls_model_type="chat",
            ls_model_name=kwargs.get("model") or self.model,
            ls_temperature=sampling.temperature,
            ls_max_tokens=sampling.max_new_tokens,
        )
        if sampling.stop:
            params["ls_stop"] = list(sampling.stop)
        return params
