"""`Service`: the state shared by all endpoints of an application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.messages import Message
from icdpo_chains.result import ICDPOResult
from icdpo_chains.server.errors import APIError
from icdpo_chains.server.limits import ServerLimits
from icdpo_chains.server.metrics import Metrics
from icdpo_chains.server.queue import Queue
from icdpo_chains.server.recent_answers import RecentAnswer, RecentAnswers

__all__ = ["Service"]


@dataclass(frozen=True)
class Service:
    """The state shared by all endpoints of an application.

    Attributes:
        icdpo: the pipeline that answers.
        model_name: the model's name for clients.
        store: the demonstrations that clients may read and change, if any.
        limits: the limits of a request.
        queue: the questions at work.
        metrics: the application's counters.
        answers: the latest answers, for feedback on them; none are kept without a store.
        created: the application's start, in seconds since 1970.
    """

    icdpo: ICDPO
    model_name: str
    store: DemonstrationStore | None
    limits: ServerLimits
    queue: Queue
    metrics: Metrics
    answers: RecentAnswers
    created: int

    @classmethod
    def of(cls, request: Request) -> Service:
        """Returns the service of the request's application."""
        service: Service = request.app.state.service
        return service

    def writable_store(self) -> DemonstrationStore:
        """Returns the demonstrations that clients may read and change.

        Raises:
            APIError: the server was started without them.
        """
        if self.store is None:
            raise APIError(
                403,
                "this server does not give access to its demonstrations: start it with `icdpo serve "
                "--demonstrations`",
                code="demonstrations_disabled",
            )
        return self.store

    def check_model(self, name: str | None) -> None:
        """Checks that a request names the model of this server.

        Raises:
            APIError: the request names another model.
        """
        if name is not None and name != self.model_name:
            raise APIError(
                404,
                f"there is no model {name!r:.80} on this server: ask for {self.model_name!r}, or leave the "
                "model out",
                code="model_not_found",
                param="model",
            )

    def check_candidates(self, count: int | None, param: str) -> None:
        """Checks a number of candidates, or of responses.

        Raises:
            APIError: the number is above `max_candidates`.
        """
        _check_most(count, self.limits.max_candidates, param, "candidates")

    def check_demonstrations(self, count: int | None, param: str) -> None:
        """Checks a number of demonstrations to show.

        Raises:
            APIError: the number is above `max_demonstrations`.
        """
        _check_most(count, self.limits.max_demonstrations, param, "demonstrations")

    def check_length(self, texts: Iterable[str], param: str) -> None:
        """Checks the length of texts that one context holds.

        Raises:
            APIError: they are longer than `max_characters` together.
        """
        _check_most(sum(map(len, texts)), self.limits.max_characters, param, "characters")

    def generate(
        self,
        conversations: Sequence[Sequence[Message]],
        options: dict[str, Any],
        on_text: Callable[[str], None] | None = None,
        on_thought: Callable[[str], None] | None = None,
        *,
        name: str,
        returned: int,
    ) -> asyncio.Task[list[ICDPOResult]]:
        """Starts to answer questions; the policy samples all waiting questions together.

        Args:
            conversations: the questions.
            options: of `ICDPO.generate`.
            on_text: see `ICDPO.generate`, for a single question with a streamed answer.
            on_thought: see `ICDPO.generate`.
            name: the id of the response.
            returned: the number of returned candidates for each question.

        Raises:
            APIError: a conversation is too long; or see `Queue.start`.
        """
        for conversation in conversations:
            self.check_length((message.text for message in conversation), "the conversation")

        def work() -> list[ICDPOResult]:
            if on_text is None:
                results: list[ICDPOResult] = self.icdpo.generate_batch(conversations, **options)
            else:
                told: dict[str, Any] = {"on_text": on_text, "on_thought": on_thought}
                results = [self.icdpo.generate(conversations[0], **told, **options)]
            for result in results:
                self.metrics.answered(result)
            if self.store is not None:
                self.answers.keep(
                    name,
                    [
                        RecentAnswer(conversation, candidate.text)
                        for conversation, result in zip(conversations, results, strict=True)
                        for candidate in result.candidates[:returned]
                    ],
                )
            return results

        return self.queue.start(work, len(conversations))

    def score(
        self,
        conversation: Sequence[Message],
        responses: Sequence[str],
        k: int | None,
        exclude: Collection[str],
    ) -> asyncio.Task[ICDPOResult]:
        """Starts to rank responses.

        Raises:
            APIError: the conversation, a response, their number or `k` is above its limit; or see
                `Queue.start`.
        """
        self.check_candidates(len(responses), "responses")
        self.check_demonstrations(k, "k")
        self.check_length((message.text for message in conversation), "the conversation")
        for response in responses:
            self.check_length([response], "a response")
        return self.queue.start(lambda: self.icdpo.score(conversation, responses, k=k, exclude=exclude))


def _check_most(count: int | None, most: int, param: str, what: str) -> None:
    if count is not None and count > most:
        raise APIError(
            400, f"{param} has {count!r:.20} {what}, and the limit of this server is {most}", param=param
        )
