"""`InstantReranker`: candidates from anywhere, ranked by the instant scorer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableSerializable
from pydantic import ConfigDict, Field

from icdpo_chains.defaults import default_icdpo
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.jsonl import json_safe
from icdpo_chains.progress import in_thread
from icdpo_chains.result import ICDPOResult
from langchain_icdpo.documents import to_retrieved
from langchain_icdpo.messages import to_conversation, to_text
from langchain_icdpo.question import to_question

__all__ = ["InstantReranker", "InstantScoreCompressor", "RankedCandidate", "candidate_text", "rank"]


@dataclass(frozen=True)
class RankedCandidate:
    """A candidate and its score.

    Attributes:
        candidate: what was given: a string, a message or a document, the very object.
        text: its text.
        score: higher is better; nats, per token or summed, as the scorer has it.
        index: its place among those given.
    """

    candidate: Any
    text: str
    score: float
    index: int


class InstantReranker(RunnableSerializable[Mapping[str, Any], list[RankedCandidate]]):
    """Ranks answers by how much more likely demonstrations make them; a step for any chain.

    Takes `{"input", "candidates"}`: the question (a string, a prompt value or messages) and its candidate
    answers (strings, messages or documents) from any model, one behind an API included: they are scored by
    the local policy. `context` and `chat_history` are read as `create_icdpo_chain` reads them, and
    `demonstrations` (documents of a `DemonstrationRetriever`) are shown in place of those that it would
    retrieve itself. Returns `RankedCandidate` objects, best first.

    Attributes:
        icdpo: the core's object, whose policy, retriever and scorer are used; by default the default ones.
        k: how many demonstrations are shown.
        top_n: how many candidates are returned; all of them where not given.

    Raises:
        InvalidInputError: the input lacks a part, or holds one that can't be read.
        NoCandidateError: no candidate can be scored: all are blank.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    icdpo: ICDPO | None = Field(default=None, exclude=True, repr=False)
    k: int | None = Field(default=None, ge=1)
    top_n: int | None = Field(default=None, ge=1)

    def invoke(
        self, input: Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[RankedCandidate]:
        """Ranks the candidates."""
        return self._call_with_config(self._rank, input, config)

    async def ainvoke(
        self, input: Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[RankedCandidate]:
        """Ranks the candidates in a thread."""
        return await self._acall_with_config(self._arank, input, config)

    def best(self) -> Runnable[Mapping[str, Any], Any]:
        """Returns a Runnable that gives the best candidate alone, the very object that was given."""
        return self | RunnableLambda(_first, name="best")

    def _rank(self, value: Mapping[str, Any]) -> list[RankedCandidate]:
        if not isinstance(value, Mapping) or "candidates" not in value:
            what = ", ".join(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
            raise InvalidInputError(f"the input has to hold 'input' and 'candidates'; given: {what}")
        icdpo = self.icdpo or default_icdpo()
        candidates = list(value["candidates"])
        result = rank(icdpo, to_question(value), candidates, value.get("demonstrations"), k=self.k)
        ranked = [
            RankedCandidate(candidates[item.index], item.text, item.score, item.index)
            for item in result.candidates
        ]
        return ranked[: self.top_n]

    async def _arank(self, value: Mapping[str, Any]) -> list[RankedCandidate]:
        return await in_thread(self._rank, value)


class InstantScoreCompressor(BaseDocumentCompressor):
    """Orders documents by the instant scorer, as if each were an answer to the query.

    Each document that is returned is a copy whose metadata hold its `relevance_score`, `None` where it can't
    be scored (a blank one).

    Attributes:
        icdpo: see `InstantReranker`.
        k: see `InstantReranker`.
        top_n: how many documents are returned.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    icdpo: ICDPO | None = Field(default=None, exclude=True, repr=False)
    k: int | None = Field(default=None, ge=1)
    top_n: int = Field(default=3, ge=1)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Returns copies of the `top_n` best documents, best first."""
        if not documents:
            return []
        icdpo = self.icdpo or default_icdpo()
        result = icdpo.score(query, [document.page_content for document in documents], k=self.k)
        return [
            documents[item.index].model_copy(
                update={
                    "metadata": {
                        **documents[item.index].metadata,
                        "relevance_score": json_safe(item.score),
                    }
                }
            )
            for item in result.candidates[: self.top_n]
        ]

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """`compress_documents` in a thread."""
        return await in_thread(self.compress_documents, documents, query, callbacks)


def rank(
    icdpo: ICDPO,
    question: Sequence[BaseMessage],
    candidates: Sequence[Any],
    demonstrations: Sequence[Document] | None = None,
    *,
    k: int | None = None,
) -> ICDPOResult:
    """Scores candidates that came from anywhere.

    Args:
        icdpo: scores them.
        question: what they answer.
        candidates: strings, messages or documents.
        demonstrations: what is shown, best first; retrieved where not given.
        k: how many of those are retrieved.

    Raises:
        InvalidInputError: a candidate holds no text.
        NoCandidateError: none of them can be scored.
    """
    conversation = to_conversation(question)
    texts = [candidate_text(candidate, i) for i, candidate in enumerate(candidates)]
    if demonstrations is None:
        found = icdpo.retrieve(conversation, k=k)
    else:
        found = [to_retrieved(document) for document in demonstrations]
    return icdpo.select(icdpo.encode(conversation, found, texts))


def candidate_text(candidate: Any, position: int = 0) -> str:
    """Returns the text of a candidate.

    Raises:
        InvalidInputError: it is no string, message or document, or a message that is not of text.
    """
    if isinstance(candidate, str):
        return candidate
    if isinstance(candidate, Document):
        return candidate.page_content
    if isinstance(candidate, BaseMessage):
        return to_text(candidate, f"candidate {position}")
    raise InvalidInputError(
        f"candidate {position} is a {type(candidate).__name__}: give strings, messages or documents"
    )


def _first(ranked: list[RankedCandidate]) -> Any:
    return ranked[0].candidate
