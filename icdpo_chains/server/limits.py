"""`ServerLimits`: the limits of a request."""

from __future__ import annotations

import math
from dataclasses import dataclass

from icdpo_chains.demonstrations.retriever import MAX_DEMONSTRATIONS
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.policies.sampling import MAX_CANDIDATES

__all__ = ["HEADER_SECONDS", "ServerLimits"]

HEADER_SECONDS = 30.0
"""The maximum time for the headers of a request; the connection is then closed."""


@dataclass(frozen=True, kw_only=True)
class ServerLimits:
    """The limits of a request.

    Attributes:
        max_waiting: the maximum number of questions in progress or waiting; further ones get 429.
        max_body_bytes: the largest request body, counted during reading; a larger one gets 413.
        max_candidates: the maximum number of candidates of a question, or responses to rank.
        max_demonstrations: the maximum number of demonstrations shown for a question.
        max_characters: the longest conversation or response, in characters.
        max_tokens: the longest answer, in tokens.
        request_timeout: the seconds after which a question gets 504 and is cancelled.
        body_timeout: the seconds for a whole body to arrive; a later one gets 408.

    Raises:
        TypeError, ValueError: a limit is out of its range.
    """

    max_waiting: int = 256
    max_body_bytes: int = 2**20
    max_candidates: int = 32
    max_demonstrations: int = 32
    max_characters: int = 200_000
    max_tokens: int = 1024
    request_timeout: float = 300.0
    body_timeout: float = 60.0

    def __post_init__(self) -> None:
        check_count(self.max_waiting, "max_waiting", 1_000_000)
        check_count(self.max_body_bytes, "max_body_bytes", 2**30)
        check_count(self.max_candidates, "max_candidates", MAX_CANDIDATES)
        check_count(self.max_demonstrations, "max_demonstrations", MAX_DEMONSTRATIONS)
        check_count(self.max_characters, "max_characters", 2**30)
        check_count(self.max_tokens, "max_tokens", 1_000_000)
        for name in ("request_timeout", "body_timeout"):
            seconds = getattr(self, name)
            if not (math.isfinite(seconds) and seconds > 0):
                raise ValueError(f"{name} is {seconds} seconds, and must be above 0")
