"""`ICDPOLLM`: ICDPO as a LlamaIndex LLM."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from llama_index.core.base.llms.generic_utils import messages_to_prompt as generic_messages_to_prompt
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools.types import BaseTool
from llama_index.core.types import Model, PydanticProgramMode
from pydantic import BaseModel, ConfigDict

from icdpo_chains.framework_settings import CALL_SETTINGS, ICDPOSettings
from icdpo_chains.messages import Message
from icdpo_chains.prompts.formats import ChatFormat, takes_tools
from llama_index_icdpo.chat_call import ChatCall
from llama_index_icdpo.messages import to_conversation
from llama_index_icdpo.tool_calling import TOOL_OPTIONS, history, selections, tool_options

__all__ = ["ICDPOLLM"]

_OTHERS = ("exclude",)
_SYSTEM_ROLES = (MessageRole.SYSTEM, MessageRole.DEVELOPER)


class ICDPOLLM(ICDPOSettings, FunctionCallingLLM):
    """A local LLM whose answers are the best of n, chosen by the instant scorer.

    Without arguments, the first answer builds the default model, the default store and its starter
    demonstrations. The settings are those of `ICDPOSettings`. All of `n`, `k`, `finalists`,
    `max_tokens`, `min_tokens`, `temperature`, `top_p`, `top_k`, `repetition_penalty`, `stop`, `seed`,
    `decoding`, `guidance`, `alpha`, `max_thinking_tokens`, `chat_template_kwargs`, `thinking` may also be
    given to a single call, and so may `exclude`: ids of demonstrations that must not be shown.

    A response has the whole result in `raw`, as JSON values, and a short table of the candidates in
    `additional_kwargs["icdpo"]`. With `n=1` a stream emits text as it is sampled; with more candidates
    it emits the answer once it is chosen. Its last response has the result. The asynchronous methods never
    block the event loop.

    The model's own chat template lays out messages. `system_prompt` is put before a conversation that has no
    system message with this text. A custom `messages_to_prompt` turns a conversation into one user turn.
    `completion_to_prompt` is applied to prompts that are not `formatted` yet.

    Raises:
        ValueError: a setting is out of range, unknown, or contradicts another (pydantic's `ValidationError`).
    """

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def class_name(cls) -> str:
        """Returns the name under which LlamaIndex serializes it."""
        return "ICDPOLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """The model's properties for LlamaIndex; builds the core."""
        core = self.core
        return LLMMetadata(
            context_window=core.max_context or DEFAULT_CONTEXT_WINDOW,
            num_output=self.sampling().max_new_tokens,
            is_chat_model=isinstance(core.format, ChatFormat),
            is_function_calling_model=takes_tools(core.format),
            model_name=self.model,
        )

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answers a conversation."""
        call = self._call(self.conversation(messages), kwargs)
        return call.response(call.core.generate(call.conversation, **call.options))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """`chat` in a thread."""
        call = self._call(self.conversation(messages), kwargs)
        return call.response(await call.core.agenerate(call.conversation, **call.options))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """`chat` as a stream."""

        def stream() -> ChatResponseGen:
            call = self._call(self.conversation(messages), kwargs)
            text = ""
            for chunk in call.core.stream(call.conversation, **call.options):
                text += chunk.text
                if (response := call.chunk(text, chunk)) is not None:
                    yield response

        return stream()

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """`stream_chat` in a thread."""

        async def stream() -> ChatResponseAsyncGen:
            call = self._call(self.conversation(messages), kwargs)
            text = ""
            async with aclosing(call.core.astream(call.conversation, **call.options)) as chunks:
                async for chunk in chunks:
                    text += chunk.text
                    if (response := call.chunk(text, chunk)) is not None:
                        yield response

        return stream()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answers a prompt."""
        call = self._call(self._prompt(prompt, formatted), kwargs)
        return call.completion(call.core.generate(call.conversation, **call.options))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """`complete` in a thread."""
        call = self._call(self._prompt(prompt, formatted), kwargs)
        return call.completion(await call.core.agenerate(call.conversation, **call.options))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """`complete` as a stream."""

        def stream() -> CompletionResponseGen:
            call = self._call(self._prompt(prompt, formatted), kwargs)
            text = ""
            for chunk in call.core.stream(call.conversation, **call.options):
                text += chunk.text
                if (response := call.completion_chunk(text, chunk)) is not None:
                    yield response

        return stream()

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        """`stream_complete` in a thread."""

        async def stream() -> CompletionResponseAsyncGen:
            call = self._call(self._prompt(prompt, formatted), kwargs)
            text = ""
            async with aclosing(call.core.astream(call.conversation, **call.options)) as chunks:
                async for chunk in chunks:
                    text += chunk.text
                    if (response := call.completion_chunk(text, chunk)) is not None:
                        yield response

        return stream()

    def conversation(self, asked: str | Sequence[ChatMessage]) -> tuple[Message, ...]:
        """Returns a prompt or messages as the core's conversation, with this LLM's prompts inserted.

        Raises:
            InvalidInputError: a message contains content other than text.
        """
        if isinstance(asked, str):
            prompt = asked if self.completion_to_prompt is None else self.completion_to_prompt(asked)
            return self._with_system_prompt((Message("user", prompt),), given=())
        render = self.messages_to_prompt
        if render is not None and render is not generic_messages_to_prompt:
            given = [Message("system", turn.content or "") for turn in asked if turn.role in _SYSTEM_ROLES]
            return self._with_system_prompt((Message("user", render(asked)),), given)
        conversation = to_conversation(asked)
        return self._with_system_prompt(conversation, given=conversation)

    def _prompt(self, prompt: str, formatted: bool) -> tuple[Message, ...]:
        # A formatted prompt already has all prompts in it.
        return (Message("user", prompt),) if formatted else self.conversation(prompt)

    def _with_system_prompt(
        self, conversation: tuple[Message, ...], given: Sequence[Message]
    ) -> tuple[Message, ...]:
        # LlamaIndex adds the system prompt in `predict` but not in `chat`. Only a system message counts: a
        # user who quotes the prompt does not remove it.
        system = (turn.content for turn in given if turn.role == "system")
        if not self.system_prompt or any(self.system_prompt in content for content in system):
            return conversation
        return (Message("system", self.system_prompt), *conversation)

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        options = tool_options(
            tools, required=tool_required, parallel=allow_parallel_tool_calls, choice=tool_choice
        )
        return {"messages": history(user_msg, chat_history), **options, **kwargs}

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Returns the tool calls of a response.

        Raises:
            ValueError: the response has no call, and `error_on_no_tool_call` is true.
        """
        return selections(response, required=error_on_no_tool_call)

    def structured_predict(
        self,
        output_cls: type[Model],
        prompt: Any,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """Returns an object that the model writes; candidates that fit its schema are preferred."""
        wanted = self._wanted(output_cls, llm_kwargs)
        found: Model = super().structured_predict(output_cls, prompt, wanted, **prompt_args)
        return found

    async def astructured_predict(
        self,
        output_cls: type[Model],
        prompt: Any,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """`structured_predict` in a thread."""
        wanted = self._wanted(output_cls, llm_kwargs)
        found: Model = await super().astructured_predict(output_cls, prompt, wanted, **prompt_args)
        return found

    def _structured_stream_call(
        self, output_cls: Any, prompt: Any, llm_kwargs: dict[str, Any] | None = None, **prompt_args: Any
    ) -> Any:
        wanted = self._wanted(output_cls, llm_kwargs)
        return super()._structured_stream_call(output_cls, prompt, wanted, **prompt_args)

    async def _structured_astream_call(
        self, output_cls: Any, prompt: Any, llm_kwargs: dict[str, Any] | None = None, **prompt_args: Any
    ) -> Any:
        wanted = self._wanted(output_cls, llm_kwargs)
        return await super()._structured_astream_call(output_cls, prompt, wanted, **prompt_args)

    def _wanted(self, output_cls: type[BaseModel], given: dict[str, Any] | None) -> dict[str, Any] | None:
        """The arguments of a call that asks for an object by the prompt, and not by a tool."""
        mode = self.pydantic_program_mode
        by_tool = mode == PydanticProgramMode.DEFAULT and self.metadata.is_function_calling_model
        if by_tool or mode not in (PydanticProgramMode.DEFAULT, PydanticProgramMode.LLM):
            return given
        # The prompt shows the schema.
        form = {"type": "json_object", "schema": output_cls.model_json_schema()}
        return {"response_format": form, **(given or {})}

    def _call(self, conversation: tuple[Message, ...], given: dict[str, Any]) -> ChatCall:
        of_form = {name: given[name] for name in (*TOOL_OPTIONS, "response_format") if name in given}
        options = {name: value for name, value in given.items() if name not in of_form}
        return ChatCall.of(self.core, conversation, self._options(options), **of_form)

    def _options(self, given: dict[str, Any]) -> dict[str, Any]:
        unknown = [name for name in given if name not in CALL_SETTINGS and name not in _OTHERS]
        if unknown:
            raise TypeError(
                f"a call of ICDPOLLM takes no {', '.join(map(repr, unknown))}: it takes "
                f"{', '.join((*CALL_SETTINGS, *_OTHERS))}; give settings of the model to ICDPOLLM itself"
            )
        return self.options(given)
