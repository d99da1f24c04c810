"""`record_webhook`: turns LangSmith's rule payloads and Langfuse's scored traces into demonstrations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files.shapes.opinions import thumb_of
from icdpo_chains.demonstrations.pairing import Thumb
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import DemonstrationError, InvalidInputError
from langchain_icdpo.feedback import demonstration_of_feedback, kept_in

__all__ = ["record_webhook"]

_MIDDLE = 0.5
"""The limit between a thumb up (1) and down (0), also for a mean of several; 0.5 itself is not a vote."""


@dataclass(frozen=True)
class _Vote:
    """A score of one run."""

    run: Mapping[str, Any]
    key: str
    score: float
    kept: Mapping[str, Any]


def _thumb(vote: _Vote, threshold: float | None) -> Thumb | None:
    if threshold is not None:
        return "up" if vote.score >= threshold else "down"
    if not -1 <= vote.score <= 1:
        raise InvalidInputError(
            f"the score {vote.score:g} of {vote.key!r} is no thumb: give the least score of a good answer by "
            "threshold="
        )
    return None if vote.score == _MIDDLE else "up" if vote.score > _MIDDLE else "down"


def record_webhook(
    store: DemonstrationStore | str | Path | None,
    payload: Mapping[str, Any],
    *,
    key: str | None = None,
    threshold: float | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> list[Demonstration]:
    """Records the thumbs of a payload; a repeated payload counts once.

    A score above 0.5 is a thumb up, a score below 0.5 a thumb down, and so are words such as "up" and "bad".
    Runs without a score, and with other words, are ignored.

    Args:
        store: the target; see `record_feedback`.
        payload: the payload of a LangSmith rule (`runs`, each with `inputs`, `outputs` and `feedback_stats`),
            one such run, or a trace of Langfuse (`input`, `output` and `scores`).
        key: the name of the feedback to use; required if there are several names.
        threshold: the least score of a good answer, for scores such as 1 to 5; by default 0.5 is the limit.
        metadata: values to store with each demonstration.

    Returns:
        For each score, the demonstration as the store now contains it.

    Raises:
        InvalidInputError: the payload has another form, it has feedback of several names and `key` is
            missing, a score is not between -1 and 1 and there is no threshold, or a run has no question or no
            answer. Nothing is stored in these cases.
        StoreError: the store can't be written.
    """
    votes = list(_votes(payload))
    names = sorted({vote.key for vote in votes})
    if key is None and len(names) > 1:
        raise InvalidInputError(f"the payload has feedback of several names: choose one of {names} by key=")
    chosen = [
        (vote, thumb)
        for vote in votes
        if (key is None or vote.key == key) and (thumb := _thumb(vote, threshold)) is not None
    ]
    items = [
        demonstration_of_feedback(
            vote.run, thumb=thumb, metadata={"key": vote.key, **vote.kept, **(metadata or {})}
        )
        for vote, thumb in chosen
    ]
    return kept_in(store, items) if items else []


def _votes(payload: Mapping[str, Any]) -> Iterator[_Vote]:
    if not isinstance(payload, Mapping):
        raise InvalidInputError(f"the payload is a {type(payload).__name__}, and must be a JSON object")
    if isinstance(payload.get("runs"), list):
        runs = payload["runs"]
        for run in runs:
            _check_run(run)
            # A single run may have its statistics next to it.
            beside = payload.get("feedback_stats") if len(runs) == 1 else None
            yield from _of_run(run, run.get("feedback_stats") or beside)
    elif "inputs" in payload:
        yield from _of_run(payload, payload.get("feedback_stats"))
    elif isinstance(payload.get("scores"), list):
        yield from _of_trace(payload)
    else:
        raise InvalidInputError(
            f"the payload has {', '.join(map(repr, payload)) or 'nothing'}: it needs LangSmith's 'runs', or "
            "'inputs', 'outputs' and 'feedback_stats' of one run, or Langfuse's 'input', 'output', 'scores'"
        )


def _of_run(run: Mapping[str, Any], stats: Any) -> Iterator[_Vote]:
    for name, found in (stats if isinstance(stats, Mapping) else {}).items():
        if not isinstance(found, Mapping):
            continue
        score = _number(found.get("avg"))
        words = found.get("values")
        if score is None and isinstance(words, Mapping) and len(words) == 1:
            score = _of_word(next(iter(words)))
        if score is not None:
            yield _Vote(run, name, score, {})


def _of_trace(trace: Mapping[str, Any]) -> Iterator[_Vote]:
    run = {"id": trace.get("id"), "inputs": trace.get("input"), "outputs": trace.get("output")}
    for found in trace["scores"]:
        if not isinstance(found, Mapping):
            continue
        score = _number(found.get("value"))
        if score is None:
            score = _of_word(found.get("stringValue") or found.get("value"))
        if score is not None:
            ids = {"score_id": found.get("id"), "comment": found.get("comment")}
            kept = {name: value for name, value in ids.items() if isinstance(value, str)}
            yield _Vote(run, str(found.get("name")), score, kept)


def _check_run(run: Any) -> None:
    if not isinstance(run, Mapping):
        raise InvalidInputError(f"a run is a {type(run).__name__}, and must be an object: {run!r:.60}")


def _of_word(value: Any) -> float | None:
    """Returns 1 or 0 for a word such as "up" or "bad"."""
    if not isinstance(value, str):
        return None
    try:
        thumb = thumb_of(value, "score")
    except DemonstrationError:
        return None
    return None if thumb is None else float(thumb)


def _number(value: Any) -> float | None:
    if isinstance(value, (bool, int, float)) and math.isfinite(value):
        return float(value)
    return None
