"""`order_of`: the meaning of a file's verdicts, if they are numbers.

A number such as 1 can mean the second answer (counted from 0), the first one (counted from 1), or "yes, the
first one is better". The names of the answers and all numbers of the file decide; a file whose numbers remain
unclear is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from icdpo_chains.demonstrations.files.shapes.outcome import Ballot
from icdpo_chains.errors import UnknownFormatError

__all__ = ["order_of"]

_POINTERS = frozenset(
    (
        *("winner", "better", "better_response", "better_response_id", "safer_response_id", "preferred"),
        *("preferred_response", "preferred_answer", "choice", "chosen", "best", "best_response", "selected"),
        *("choose_best",),
    )
)
"""Columns that point at an answer; a label or a preference of 1 may also say that the first one is better."""


def order_of(ballot: Ballot, values: Collection[str]) -> Mapping[str, int]:
    """Returns the position of the better answer, 0 or 1, for each verdict of a file.

    Args:
        ballot: any ballot of the file with this column.
        values: all its verdicts: whole numbers as text.

    Raises:
        UnknownFormatError: the meaning of the verdicts is not clear.
    """
    given = set(values)
    names = {ballot.ends[0]: 0, ballot.ends[1]: 1}
    if given <= names.keys():
        return names
    if not ballot.ends[0].isdigit():
        if ballot.column in _POINTERS and given <= {"0", "1"} and "0" in given:
            return {"0": 0, "1": 1}
        if given == {"1", "2"}:
            return {"1": 0, "2": 1}
    one, other = ballot.answers
    seen = ", ".join(sorted(given, key=float)[:6])
    raise UnknownFormatError(
        f"the verdicts {seen} in the column {ballot.column!r} do not say which of {one!r} and {other!r} is "
        "better: name the verdict for the first and the one for the second, for instance --verdict 0,1 (in "
        'Python verdict=("0", "1")); all others are ties'
    )
