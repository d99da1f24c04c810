"""`Tools`: the tools that the server offers."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, StrictInt

from icdpo_chains.errors import (
    ICDPOError,
    InvalidInputError,
    PolicyError,
    QueueFullError,
    StoreError,
    StoreLockedError,
    WeightsError,
)
from icdpo_chains.mcp.results import (
    AddedDemonstration,
    AlignedAnswer,
    FoundDemonstration,
    FoundDemonstrations,
    RankedAnswer,
    RankedAnswers,
)
from icdpo_chains.messages import Message

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.demonstration import Demonstration
    from icdpo_chains.demonstrations.store import AddReport, DemonstrationStore
    from icdpo_chains.icdpo import ICDPO
    from icdpo_chains.result import Candidate

__all__ = ["Tools"]

MAX_CHARACTERS, MAX_ANSWERS, MAX_TOKENS, MAX_SHOWN, MAX_FOUND = 100_000, 32, 2048, 20, 100

_log = logging.getLogger(__name__)

_Question = Annotated[
    str, Field(min_length=1, max_length=MAX_CHARACTERS, description="The question, as a user asked it.")
]
_Answer = Annotated[str, Field(max_length=MAX_CHARACTERS)]


class Tools:
    """The tools; clients read their docstrings.

    An optional text defaults to "": FastMCP tries to read the text of any type but `str` as JSON.
    """

    def __init__(self, load: Callable[[], ICDPO], store: DemonstrationStore | None) -> None:
        self._load, self._store = load, store
        self._adding = threading.Lock()  # a directory has one writer at a time

    async def aligned_answer(
        self,
        question: _Question,
        system: Annotated[
            str, Field(max_length=MAX_CHARACTERS, description="A system message; blank for none.")
        ] = "",
        n: Annotated[
            StrictInt | None,
            Field(ge=1, le=MAX_ANSWERS, description="Number of candidates; more take longer."),
        ] = None,
        k: Annotated[StrictInt | None, Field(ge=1, le=MAX_SHOWN, description="Demonstrations shown.")] = None,
        max_tokens: Annotated[
            StrictInt | None, Field(ge=1, le=MAX_TOKENS, description="The longest answer, in tokens.")
        ] = None,
        seed: Annotated[
            StrictInt | None, Field(ge=0, lt=2**63, description="Seed that makes the answer reproducible.")
        ] = None,
    ) -> AlignedAnswer:
        """Answer a question with a local language model, in the manner of its demonstrations.

        Samples several candidates with similar demonstrations in context, scores each by how much likelier
        the good answers make it than the bad ones, and returns the best. Takes seconds to a minute.
        """
        prompt = [Message("system", system)] if system.strip() else []
        prompt.append(Message("user", question))
        options: dict[str, Any] = {"n": n, "k": k, "seed": seed}
        with _told():
            icdpo = await self._icdpo()
            if max_tokens is not None:
                least = min(icdpo.sampling.min_new_tokens, max_tokens)
                options["sampling"] = replace(icdpo.sampling, max_new_tokens=max_tokens, min_new_tokens=least)
            result = await icdpo.agenerate(prompt, **options)
        return AlignedAnswer(
            answer=result.text,
            score=_score(result.candidates[0]),
            scores=[_score(candidate) for candidate in result.candidates],
            demonstration_ids=[found.demonstration.id for found in result.demonstrations],
            model=result.model,
            seed=result.seed,
        )

    async def rank_answers(
        self,
        question: _Question,
        answers: Annotated[
            list[_Answer],
            Field(min_length=1, max_length=MAX_ANSWERS, description="The answers, from any source."),
        ],
    ) -> RankedAnswers:
        """Rank given answers to a question, best first, by how well they follow the demonstrations.

        Use it to choose among drafts of your own. Scores are comparable only within one call.
        """
        with _told():
            icdpo = await self._icdpo()
            result = await icdpo.ascore(question, answers)
        return RankedAnswers(
            answers=[
                RankedAnswer(answer=item.text, score=_score(item), index=item.index)
                for item in result.candidates
            ]
        )

    async def search_demonstrations(
        self,
        query: Annotated[
            str, Field(min_length=1, max_length=MAX_CHARACTERS, description="A question, or its subject.")
        ],
        k: Annotated[
            StrictInt, Field(ge=1, le=MAX_FOUND, description="Number of demonstrations to return.")
        ] = 5,
    ) -> FoundDemonstrations:
        """Find the demonstrations whose questions are most similar to a query.

        A demonstration is a question with a better and usually a worse answer. aligned_answer and
        rank_answers follow the demonstrations.
        """
        from icdpo_chains.progress import in_thread

        with _told():
            store = await self._demonstrations()
            found = await in_thread(store.search, query, k)
        return FoundDemonstrations(
            demonstrations=[
                FoundDemonstration(
                    id=item.id,
                    question=item.prompt_text,
                    chosen=item.chosen,
                    rejected=item.rejected,
                    similarity=similarity,
                )
                for item, similarity in found
            ]
        )

    async def add_demonstration(
        self,
        question: _Question,
        chosen: Annotated[str, Field(max_length=MAX_CHARACTERS, description="The better answer.")],
        rejected: Annotated[
            str, Field(max_length=MAX_CHARACTERS, description="The worse answer; blank for none.")
        ] = "",
    ) -> AddedDemonstration:
        """Store a question with a better and, if there is one, a worse answer, to guide all later answers.

        Add only answers that the user approved: they change all later answers of this server. A known
        demonstration is not added twice.
        """
        from icdpo_chains.demonstrations.demonstration import Demonstration
        from icdpo_chains.progress import in_thread

        with _told():
            item = Demonstration(question, chosen, rejected if rejected.strip() else None)
            store = await self._demonstrations()
            report = await in_thread(self._add, store, item)
            return AddedDemonstration(id=report.places.get(item.id, item.id), added=report.added == 1)

    def _add(self, store: DemonstrationStore, item: Demonstration) -> AddReport:
        with self._adding, store.writable() as writable:
            return writable.add([item])

    async def _icdpo(self) -> ICDPO:
        from icdpo_chains.progress import in_thread

        return await in_thread(self._load)

    async def _demonstrations(self) -> DemonstrationStore:
        if self._store is None:
            retriever = (await self._icdpo()).retriever
            self._store = getattr(retriever, "store", None)
            if self._store is None:
                raise InvalidInputError(
                    f"the demonstrations of {type(retriever).__name__} can't be searched or added to: start "
                    "the server with another retriever, such as two_stage"
                )
        return self._store


def _score(candidate: Candidate) -> float | None:
    return candidate.score if math.isfinite(candidate.score) else None


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Reports expected errors to the client; logs unexpected errors and hides their details."""
    from mcp.server.fastmcp.exceptions import ToolError

    try:
        yield
    except (StoreError, PolicyError, WeightsError) as error:
        if isinstance(error, QueueFullError):
            raise ToolError(str(error)) from None
        # The message is for the operator: it may name paths and addresses.
        _log.warning("%s: %s", type(error).__name__, error)
        if isinstance(error, StoreLockedError):
            raise ToolError("another process writes to the demonstration store: try again later") from None
        what = "demonstration store" if isinstance(error, StoreError) else "model"
        raise ToolError(f"the {what} can't be used: the server's log has the reason") from None
    except ICDPOError as error:
        raise ToolError(str(error)) from None
    except Exception:
        _log.exception("a tool failed")
        raise ToolError("the tool failed inside the server: its log has the reason") from None
