"""`ICDPOSynthesizer`: answers a query engine's query with the best of n over the retrieved documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.base.response.schema import RESPONSE_TYPE
from llama_index.core.callbacks import CallbackManager
from llama_index.core.indices.prompt_helper import PromptHelper
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.synthesis import SynthesizeEndEvent, SynthesizeStartEvent
from llama_index.core.prompts import BasePromptTemplate, ChatPromptTemplate
from llama_index.core.prompts.mixin import PromptDictType
from llama_index.core.response_synthesizers import BaseSynthesizer
from llama_index.core.schema import NodeWithScore, QueryType
from llama_index.core.settings import Settings
from llama_index.core.types import RESPONSE_TEXT_TYPE, TokenAsyncGen, TokenGen

from icdpo_chains.prompts.contexts import FROM_DOCUMENTS
from llama_index_icdpo.llm import ICDPOLLM

__all__ = ["ICDPOSynthesizer"]

_dispatcher = get_dispatcher(__name__)

_TEMPLATE = ChatPromptTemplate(
    [
        # A system message, so that only the query influences which demonstrations are retrieved.
        ChatMessage(role=MessageRole.SYSTEM, content=f"{FROM_DOCUMENTS}\n\n{{context_str}}"),
        ChatMessage(role=MessageRole.USER, content="{query_str}"),
    ]
)


class ICDPOSynthesizer(BaseSynthesizer):
    """Answers a query from the retrieved documents by ICDPO, in one call of the LLM.

    The response has its source nodes and their metadata. The table of candidates and scores is in
    `response.metadata["icdpo"]` (in a streamed response, after the stream has been read).

    Args:
        llm: an `ICDPOLLM`; by default `Settings.llm` if it is an `ICDPOLLM`, else one with default settings.
        text_qa_template: the prompt, with `context_str` and `query_str`. The text of its user messages
            influences which demonstrations are retrieved; the text of its system messages does not.
        empty_response: the answer if no document was retrieved; `None` lets the LLM answer without one.
        streaming: return streams; with `n=1` a stream emits text as it is sampled, and with more candidates
            the answer once it is chosen.
        callback_manager: LlamaIndex's.
        prompt_helper: LlamaIndex's.

    Raises:
        TypeError: `llm` is not an `ICDPOLLM`.
    """

    def __init__(
        self,
        llm: ICDPOLLM | None = None,
        *,
        text_qa_template: BasePromptTemplate | None = None,
        empty_response: str | None = "I found no document that could answer this.",
        streaming: bool = False,
        callback_manager: CallbackManager | None = None,
        prompt_helper: PromptHelper | None = None,
    ) -> None:
        if llm is None:
            llm = Settings._llm if isinstance(Settings._llm, ICDPOLLM) else ICDPOLLM()
        if not isinstance(llm, ICDPOLLM):
            raise TypeError(
                f"llm is a {type(llm).__name__}, and the synthesizer needs an ICDPOLLM, which samples "
                "and scores"
            )
        super().__init__(
            llm=llm,
            callback_manager=callback_manager,
            prompt_helper=prompt_helper,
            streaming=streaming,
            empty_response=empty_response,
        )
        self._answers_without_documents = empty_response is None
        self._text_qa_template = text_qa_template or _TEMPLATE

    def get_response(
        self,
        query_str: str,
        text_chunks: Sequence[str],
        *,
        table: dict[str, Any] | None = None,
        **response_kwargs: Any,
    ) -> RESPONSE_TEXT_TYPE:
        """Answers a query.

        Args:
            query_str: the query.
            text_chunks: the documents, best first; may be empty.
            table: receives candidates and scores after the answer.
            response_kwargs: the settings of this call, such as `n` or `seed`; see `ICDPOLLM`.
        """
        messages = self._messages(query_str, text_chunks)
        if not self._streaming:
            response = self._llm.chat(messages, **response_kwargs)
            _fill(table, response.additional_kwargs)
            return response.message.content or ""

        def stream() -> TokenGen:
            for response in self._llm.stream_chat(messages, **response_kwargs):
                _fill(table, response.additional_kwargs)
                yield response.delta or ""

        return stream()

    async def aget_response(
        self,
        query_str: str,
        text_chunks: Sequence[str],
        *,
        table: dict[str, Any] | None = None,
        **response_kwargs: Any,
    ) -> RESPONSE_TEXT_TYPE:
        """`get_response` without blocking the event loop."""
        messages = self._messages(query_str, text_chunks)
        if not self._streaming:
            response = await self._llm.achat(messages, **response_kwargs)
            _fill(table, response.additional_kwargs)
            return response.message.content or ""

        async def stream() -> TokenAsyncGen:
            async for response in await self._llm.astream_chat(messages, **response_kwargs):
                _fill(table, response.additional_kwargs)
                yield response.delta or ""

        return stream()

    def synthesize(
        self,
        query: QueryType,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
        **response_kwargs: Any,
    ) -> RESPONSE_TYPE:
        """Answers a query from nodes."""
        table: dict[str, Any] = {}
        if nodes or not self._answers_without_documents:
            response = super().synthesize(
                query, nodes, additional_source_nodes, table=table, **response_kwargs
            )
            return _with_table(response, table)
        _dispatcher.event(SynthesizeStartEvent(query=query))
        answer = self.get_response(_text(query), [], table=table, **response_kwargs)
        response = self._prepare_response_output(answer, list(additional_source_nodes or []))
        _dispatcher.event(SynthesizeEndEvent(query=query, response=response))
        return _with_table(response, table)

    async def asynthesize(
        self,
        query: QueryType,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
        **response_kwargs: Any,
    ) -> RESPONSE_TYPE:
        """`synthesize` without blocking the event loop."""
        table: dict[str, Any] = {}
        if nodes or not self._answers_without_documents:
            response = await super().asynthesize(
                query, nodes, additional_source_nodes, table=table, **response_kwargs
            )
            return _with_table(response, table)
        _dispatcher.event(SynthesizeStartEvent(query=query))
        answer = await self.aget_response(_text(query), [], table=table, **response_kwargs)
        response = self._prepare_response_output(answer, list(additional_source_nodes or []))
        _dispatcher.event(SynthesizeEndEvent(query=query, response=response))
        return _with_table(response, table)

    def _messages(self, query_str: str, text_chunks: Sequence[str]) -> list[ChatMessage]:
        if not text_chunks:
            return [ChatMessage(role=MessageRole.USER, content=query_str)]
        return self._text_qa_template.format_messages(
            llm=self._llm, context_str="\n\n".join(text_chunks), query_str=query_str
        )

    def _get_prompts(self) -> PromptDictType:
        return {"text_qa_template": self._text_qa_template}

    def _update_prompts(self, prompts: PromptDictType) -> None:
        self._text_qa_template = prompts.get("text_qa_template", self._text_qa_template)


def _text(query: QueryType) -> str:
    return query if isinstance(query, str) else query.query_str


def _fill(table: dict[str, Any] | None, given: dict[str, Any]) -> None:
    if table is not None:
        table.update(given.get("icdpo", {}))  # in the last response of a stream only


def _with_table(response: RESPONSE_TYPE, table: dict[str, Any]) -> RESPONSE_TYPE:
    response.metadata = {**(response.metadata or {}), "icdpo": table}
    return response
