"""Preference pairs for an evaluation: reads them, and splits them without leaks."""

from __future__ import annotations

import logging
import math
import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.duplicates import near_duplicates
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.foundation.printable import counted

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.files import RefusedRow

__all__ = ["read_preferences", "split"]

_log = logging.getLogger(__name__)


def read_preferences(
    paths: Iterable[str | os.PathLike[str]], *, on_refused: Callable[[RefusedRow], None] | None = None
) -> tuple[Demonstration, ...]:
    """Reads the pairs of preference files: the rows with both answers, each once (by its `id`).

    Args:
        paths: files of any format that `read_demonstrations` knows.
        on_refused: called with each row that can't be used; by default such a row is logged as a warning.

    Raises:
        InvalidInputError: the files have no pair; the message names their content.
        OSError, UnknownFormatError: as `read_demonstrations`.
    """
    from icdpo_chains.demonstrations.files import read_demonstrations

    paths = list(paths)
    refused: list[RefusedRow] = []

    def refuse(row: RefusedRow) -> None:
        refused.append(row)
        (on_refused or _log_refused)(row)

    # All names are checked before the first file is read.
    readers = [read_demonstrations(path, on_refused=refuse) for path in paths]
    pairs: dict[str, Demonstration] = {}
    bare = 0
    for reader in readers:
        for row in reader:
            if not row.is_pair:
                bare += 1
            else:
                pairs.setdefault(row.id, row)
    if not pairs:
        found = []
        if bare:
            found.append(f"{bare} rows with one answer alone")
        if refused:
            found.append(f"{counted(len(refused), 'row')} that can't be used (the first: {refused[0]})")
        raise InvalidInputError(
            f"no preference pair in {', '.join(map(str, paths)) or 'no file'}: "
            f"{' and '.join(found) or 'empty'}; each pair needs a prompt, a chosen answer and a rejected one"
        )
    return tuple(pairs.values())


def split(
    rows: Sequence[Demonstration], shares: Mapping[str, float], *, seed: int = 0
) -> dict[str, tuple[Demonstration, ...]]:
    """Splits rows into parts; near-duplicates share a part, see `near_duplicates`.

    Args:
        rows: demonstrations.
        shares: the size of each part, relative to the others.
        seed: the seed of the draw.

    Returns:
        The parts, each in the order of `rows`. Sizes differ from the shares if a group of near-duplicates is
        larger than a part.

    Raises:
        InvalidInputError: there are fewer groups than parts.
        ValueError: no share, or a share that is not above 0.
    """
    if not shares or not all(share > 0 and math.isfinite(share) for share in shares.values()):
        raise ValueError(f"shares are {dict(shares)}, and must be numbers above 0, one for each part")
    members: defaultdict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(near_duplicates(rows)):
        members[group].append(row)
    groups = list(members.values())
    random.Random(seed).shuffle(groups)  # noqa: S311
    groups.sort(
        key=len, reverse=True
    )  # stable: large groups find room first, groups of equal size stay in random order
    if len(groups) < len(shares):
        raise InvalidInputError(
            f"{len(groups)} prompts that are not nearly the same can't be split into {len(shares)} parts "
            f"({', '.join(shares)}): give more rows"
        )
    lacking = {name: len(rows) * share / sum(shares.values()) for name, share in shares.items()}
    parts: dict[str, list[int]] = {name: [] for name in shares}
    for position, near in enumerate(groups):
        empty = [name for name in parts if not parts[name]]
        # Even a small share gets a row.
        choices = empty if len(groups) - position <= len(empty) else list(parts)
        name = max(choices, key=lacking.__getitem__)
        parts[name] += near
        lacking[name] -= len(near)
    return {name: tuple(rows[row] for row in sorted(part)) for name, part in parts.items()}


def _log_refused(row: RefusedRow) -> None:
    _log.warning("refused: %s", row)
