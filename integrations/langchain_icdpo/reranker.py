"""`InstantReranker`: ranks candidates from any source by the instant scorer."""

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
from icdpo_chains.foundation.jsonl import json_safe
from icdpo_chains.icdpo import ICDPO
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
        candidate: the given object: a string, a message or a document.
        text: the candidate's text.
        score: higher is better; in nats, per token or summed, depending on the scorer.
        index: the candidate's index in the input.
    """

    candidate: Any
    text: str
    score: float
    index: int


class InstantReranker(RunnableSerializable[Mapping[str, Any], list[RankedCandidate]]):
    """Ranks answers by how much likelier the demonstrations make them; a step for any chain.

    Takes `{"input", "candidates"}`: the question (a string, a prompt value or messages) and its candidate
    answers (strings, messages or documents) from any model, including models behind an API. The local policy
    scores them. `context` and `chat_history` are as in `create_icdpo_chain`. `demonstrations` (documents of a
    `DemonstrationRetriever`) replace the retrieved ones. Returns `RankedCandidate` objects, best first.

    Attributes:
        icdpo: the core's object, which provides policy, retriever and scorer; by default the shared default.
        k: the number of demonstrations shown; by default that of the ICDPO.
        top_n: the number of candidates to return; by default all.

    Raises:
        InvalidInputError: a part of the input is missing or can't be read.
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
        """Returns a Runnable that returns only the best candidate: the given object itself."""
        return self | RunnableLambda(_first, name="best")

    def _rank(self, value: Mapping[str, Any]) -> list[RankedCandidate]:
        if not isinstance(value, Mapping) or "candidates" not in value:
            what = ", ".join(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
            raise InvalidInputError(f"the input must contain 'input' and 'candidates'; given: {what}")
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

    Returns copies of the documents, with the score in the metadata as `relevance_score`; `None` for a blank
    document, which can't be scored.

    Attributes:
        icdpo: see `InstantReranker`.
        k: see `InstantReranker`.
        top_n: the number of documents to return.
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
    """Scores candidates from any source.

    Args:
        icdpo: the core's object that scores.
        question: the question that the candidates answer.
        candidates: strings, messages or documents.
        demonstrations: the demonstrations to show, best first; by default retrieved.
        k: the number of demonstrations to retrieve.

    Raises:
        InvalidInputError: a candidate has no text.
        NoCandidateError: no candidate can be scored.
    """
    conversation = to_conversation(question, text_only=True)
    texts = [candidate_text(candidate, i) for i, candidate in enumerate(candidates)]
    if demonstrations is None:
        found = icdpo.retrieve(conversation, k=k)
    else:
        found = [to_retrieved(document) for document in demonstrations]
    return icdpo.select(icdpo.encode(conversation, found, texts))


def candidate_text(candidate: Any, position: int = 0) -> str:
    """Returns the text of a candidate.

    Raises:
        InvalidInputError: the candidate is not a string, message or document, or is a message without text.
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
