"""Thumbs of one prompt: contradictory votes are counted, and ups and downs become pairs.

A thumb is a demonstration with one answer. Two keys of its metadata have a meaning here:

- `thumb` marks the demonstration as a person's vote. A repeated vote (from a repeated import) counts once;
  votes with different metadata (a user, a time) count separately.
- `thumbs` lists the votes of an answer with several votes; the majority decides, and a tie is not shown.

A pair of two thumbs keeps the metadata of the thumb down under `rejected_metadata`, so that it can be split
again: a later thumb may outvote either of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.errors import DemonstrationError

__all__ = ["Regrouped", "Thumb", "is_thumbs", "is_tie", "is_vote", "regrouped", "votes_of"]

Thumb = Literal["up", "down"]

_THUMB, _VOTES, _OF_REJECTED = "thumb", "thumbs", "rejected_metadata"

Outcome = Literal["added", "updated", "unchanged"]


@dataclass(frozen=True)
class Regrouped:
    """The changes to the demonstrations of one prompt.

    Attributes:
        demonstrations: the resulting demonstrations, without the pairs that are not made of thumbs.
        outcomes: the outcome of each arrival, in order.
        places: the new id of each arrival or former demonstration, by its own id, if the two differ.
    """

    demonstrations: tuple[Demonstration, ...]
    outcomes: tuple[Outcome, ...]
    places: Mapping[str, str]


def regrouped(existing: Iterable[Demonstration], arrivals: Sequence[Demonstration]) -> Regrouped:
    """Adds thumbs to the demonstrations of their prompt.

    Args:
        existing: all demonstrations of this prompt, in the order of insertion.
        arrivals: demonstrations of the same prompt that satisfy `is_thumbs`.
    """
    answers: dict[str, _Answer] = {}
    whole: dict[tuple[Thumb, str], str] = {}
    existing = list(existing)
    for item in existing:
        if not is_thumbs(item):
            whole |= {("up", item.chosen or ""): item.id, ("down", item.rejected or ""): item.id}
            continue
        for part in _parts(item):
            thumb, text = _side(part)
            answers.setdefault(text, _Answer(part.prompt, text)).take(thumb, part.metadata)
    outcomes: list[Outcome] = []
    for item in arrivals:
        done: set[Outcome] = set()
        for part in _parts(item):
            side = _side(part)
            if side in whole and side[1] not in answers:
                done.add("unchanged")  # a pair says it already
                continue
            answer = answers.setdefault(side[1], _Answer(part.prompt, side[1]))
            done.add(answer.take(side[0], part.metadata))
        outcomes.append("added" if "added" in done else "updated" if "updated" in done else "unchanged")
    made, place_of = _paired(list(answers.values()))
    places = {item.id: place_of[text] for item in existing if (text := _side(item)[1]) in place_of}
    for item in arrivals:
        side = _side(item)
        places[item.id] = place_of[side[1]] if side[1] in place_of else whole[side]
    return Regrouped(
        tuple(made), tuple(outcomes), {id_: place for id_, place in places.items() if id_ != place}
    )


def votes_of(item: Demonstration) -> dict[Thumb, int]:
    """Returns the numbers of thumbs up and down of a demonstration with one answer."""
    votes = _votes(item.metadata) or [{_THUMB: _side(item)[0]}]
    ups = sum(vote[_THUMB] == "up" for vote in votes)
    return {"up": ups, "down": len(votes) - ups}


def is_vote(item: Demonstration) -> bool:
    """Returns whether a demonstration with one answer is marked as one or several votes."""
    return _marked(item.metadata)


def is_tie(item: Demonstration) -> bool:
    """Returns whether the votes on the answer are tied, so that it is not shown."""
    if item.is_pair:
        return False
    votes = votes_of(item)
    return votes["up"] == votes["down"]


def is_thumbs(item: Demonstration) -> bool:
    """Returns whether it is a thumb or a pair of two thumbs."""
    return not item.is_pair or isinstance(item.metadata.get(_OF_REJECTED), Mapping)


@dataclass
class _Answer:
    """An answer to the prompt and its votes."""

    prompt: Any
    text: str
    votes: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    thumb: Thumb = "up"

    def take(self, thumb: Thumb, metadata: Mapping[str, Any]) -> Outcome:
        """Counts the votes of a demonstration of this answer."""
        plain = {name: value for name, value in metadata.items() if name != _VOTES or not _votes(metadata)}
        marked = _marked(metadata)
        # Only scalars: they can name a user or a time, and a list of votes stays flat.
        scalars = {name: value for name, value in plain.items() if not isinstance(value, (list, dict))}
        votes = _votes(metadata) or [{**(scalars if marked else {}), _THUMB: thumb}]
        new = [vote for vote in votes if vote not in self.votes]
        if not self.votes:
            self.metadata, self.thumb = plain, thumb
        self.votes += new
        if new:
            return "added"
        changed = not marked and thumb == self.thumb and _without(self.metadata, _THUMB) != plain
        if changed:
            self.metadata = plain
        return "updated" if changed else "unchanged"

    @property
    def balance(self) -> int:
        """Thumbs up minus thumbs down."""
        return sum(1 if vote[_THUMB] == "up" else -1 for vote in self.votes)

    def demonstration(self) -> Demonstration:
        """Returns a demonstration with one answer; a tie keeps the answer's side."""
        up = self.balance > 0 or (self.balance == 0 and self.thumb == "up")
        metadata = dict(self.metadata)
        if len(self.votes) > 1:
            metadata |= {_THUMB: "up" if up else "down", _VOTES: self.votes}
        return Demonstration(self.prompt, self.text if up else None, None if up else self.text, metadata)


def _paired(answers: Sequence[_Answer]) -> tuple[list[Demonstration], dict[str, str]]:
    """Pairs ups and downs in order; returns all demonstrations, and the id of each answer's demonstration."""
    ups = [answer.demonstration() for answer in answers if answer.balance > 0]
    downs = [answer.demonstration() for answer in answers if answer.balance < 0]
    made = [answer.demonstration() for answer in answers if answer.balance == 0]
    count = min(len(ups), len(downs))
    for up, down in zip(ups, downs, strict=False):
        metadata = {**up.metadata, _OF_REJECTED: dict(down.metadata)}
        try:
            made.append(Demonstration(up.prompt, up.chosen, down.rejected, metadata))
        except DemonstrationError:  # the metadata are at the nesting limit: the two stay separate
            made += [up, down]
    made += ups[count:] + downs[count:]
    return made, {text: item.id for item in made for text in (item.chosen, item.rejected) if text is not None}


def _parts(item: Demonstration) -> list[Demonstration]:
    """Returns the two thumbs of a pair, or the thumb itself."""
    if not item.is_pair:
        return [item]
    metadata = _without(item.metadata, _OF_REJECTED)
    return [
        Demonstration(item.prompt, item.chosen, None, metadata),
        Demonstration(item.prompt, None, item.rejected, item.metadata[_OF_REJECTED]),
    ]


def _side(item: Demonstration) -> tuple[Thumb, str]:
    return ("up", item.chosen) if item.chosen is not None else ("down", item.rejected or "")


def _marked(metadata: Mapping[str, Any]) -> bool:
    return metadata.get(_THUMB) in ("up", "down") or bool(_votes(metadata))


def _votes(metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the votes listed in metadata; none if a list of this name contains other values."""
    votes = metadata.get(_VOTES)
    if not isinstance(votes, list) or not all(
        isinstance(vote, Mapping) and vote.get(_THUMB) in ("up", "down") for vote in votes
    ):
        return []
    return [dict(vote) for vote in votes]


def _without(metadata: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key != name}
