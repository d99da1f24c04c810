"""`create_icdpo_chain`: ICDPO as separate Runnable steps, each visible in a trace and replaceable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_core.runnables.base import RunnableLike, coerce_to_runnable

from icdpo_chains.draft import Draft
from icdpo_chains.messages import search_text
from langchain_icdpo.chat_model.answer import as_ai_message, with_score_table
from langchain_icdpo.chat_model.model import ChatICDPO
from langchain_icdpo.documents import to_retrieved
from langchain_icdpo.messages import to_conversation, to_messages
from langchain_icdpo.question import to_question
from langchain_icdpo.reranker import rank
from langchain_icdpo.retriever import DemonstrationRetriever

__all__ = ["create_icdpo_chain"]


def create_icdpo_chain(
    chat: ChatICDPO | None = None,
    *,
    prompt: RunnableLike[Any, Any] | None = None,
    retriever: RunnableLike[str, list[Document]] | None = None,
    sampler: RunnableLike[dict[str, Any], Any] | None = None,
    reranker: RunnableLike[dict[str, Any], Any] | None = None,
    **settings: Any,
) -> Runnable[Any, AIMessage]:
    """Returns a chain of four steps; it gives the answer of `ChatICDPO` with the same settings and seed.

    The steps, by their names in a trace:

    - `ask`: turns the input into messages.
    - `retrieve_demonstrations`: finds demonstrations for the text of the messages.
    - `sample_candidates`: takes `{"messages", "demonstrations"}` and samples candidate answers.
    - `rerank_candidates`: also takes `"candidates"`, and returns the best one as a message, with all
      candidates and scores in `response_metadata["icdpo"]`.

    Args:
        chat: provides core and settings; by default a `ChatICDPO` with the `settings`.
        prompt: replaces `ask`, for example with a prompt template. The default takes a question, or
            `{"input", "context", "chat_history"}`; the last two are optional.
        retriever: replaces `retrieve_demonstrations`; maps text to documents (see `to_retrieved`).
        sampler: replaces `sample_candidates`; returns strings or messages, for example several answers of a
            model behind an API.
        reranker: replaces `rerank_candidates`.
        settings: the settings of the default `ChatICDPO`.

    Raises:
        ValueError: both `settings` and `chat` are given.
    """
    if chat is not None and settings:
        raise ValueError(f"{', '.join(settings)} and chat are both given: set them in the chat model instead")
    own = _Steps(chat or ChatICDPO(**settings))
    steps: dict[str, Any] = {
        "ask": to_question if prompt is None else prompt,
        "retrieve_demonstrations": own.retrieve if retriever is None else retriever,
        "sample_candidates": own.sample if sampler is None else sampler,
        "rerank_candidates": own.rerank if reranker is None else reranker,
    }
    ask, retrieve, sample, rerank = (
        coerce_to_runnable(step).with_config(run_name=name) for name, step in steps.items()
    )
    chain: Runnable[Any, AIMessage] = (
        ask
        | RunnableLambda(_messages)
        | RunnablePassthrough.assign(demonstrations=RunnableLambda(_query) | retrieve)
        | RunnablePassthrough.assign(candidates=sample)
        | rerank
    )
    return chain.with_config(run_name="icdpo")


class _Steps:
    """The default steps. The first question builds the core, which loads the model."""

    def __init__(self, chat: ChatICDPO) -> None:
        self._chat = chat

    def retrieve(self, query: str) -> Runnable[str, list[Document]]:
        # A RunnableLambda invokes the Runnable that it returns, so a trace shows the retriever.
        core = self._chat.core
        return DemonstrationRetriever(retriever=core.retriever, k=self._chat.k or core.k)

    def sample(self, state: Mapping[str, Any]) -> Draft:
        call = self._chat._call(state["messages"], {})
        found = [to_retrieved(document) for document in state["demonstrations"]]
        options = {name: call.options[name] for name in ("n", "sampling", "finalists")}
        return call.icdpo.sample(call.conversation, found, **options)

    def rerank(self, state: Mapping[str, Any]) -> AIMessage:
        candidates = state["candidates"]
        if isinstance(candidates, Draft):
            return as_ai_message(self._chat.core.select(candidates))
        result = rank(self._chat.core, state["messages"], candidates, state["demonstrations"])
        return with_score_table(candidates[result.best.index], result)


def _messages(asked: Any) -> dict[str, Any]:
    return {"messages": to_messages(asked)}


def _query(state: Mapping[str, Any]) -> str:
    return search_text(to_conversation(state["messages"]))
