"""Preference pairs for an evaluation: reads them, groups near-duplicate prompts, splits without leaks."""

from __future__ import annotations

import logging
import math
import os
import random
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from icdpo_chains.demonstrations.bm25 import tokenize
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.errors import ICDPOError, InvalidInputError

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.files import RefusedRow

__all__ = ["near_duplicates", "read_preferences", "same_group", "split"]

_log = logging.getLogger(__name__)

_PERMUTATIONS = 96
# A missed pair is a leak; a false pair costs its verification alone.
_FALSE_POSITIVES, _FALSE_NEGATIVES = 0.1, 0.9


def read_preferences(
    paths: Iterable[str | os.PathLike[str]], *, on_refused: Callable[[RefusedRow], None] | None = None
) -> tuple[Demonstration, ...]:
    """Reads the pairs of preference files: the rows with both answers, each once (by its `id`).

    Args:
        paths: files of any format that `read_demonstrations` knows.
        on_refused: called with each row that can't be used; by default such a row is logged as a warning.

    Raises:
        InvalidInputError: the files hold no pair; the message names their content.
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
            found.append(f"{len(refused)} rows that can't be used (the first: {refused[0]})")
        raise InvalidInputError(
            f"no preference pair in {', '.join(map(str, paths)) or 'no file'}: "
            f"{' and '.join(found) or 'empty'}; each pair needs a prompt, a chosen answer and a rejected one"
        )
    return tuple(pairs.values())


def near_duplicates(rows: Sequence[Demonstration], threshold: float = 0.6) -> list[int]:
    """Groups rows with nearly the same prompt.

    Two rows belong together if their prompts have the same words (case, punctuation and spacing aside), or if
    the Jaccard similarity of their word 2-grams is above the threshold. Groups are the connected components
    of this relation. Locality-sensitive hashing (MinHash, Broder 1997) finds candidate pairs, and the 2-grams
    verify each candidate. The hashing may miss a pair close to the threshold, never a pair of equal prompts.

    Args:
        rows: demonstrations.
        threshold: above 0, at most 1; at 1, prompts must have the same words.

    Returns:
        The number of each row's group, from 0, in the order in which the groups begin.

    Raises:
        ICDPOError: the extra `eval` is not installed.
        ValueError: the threshold is out of range.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}, and must be above 0 and at most 1")
    by_words: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        by_words[_words(row)].append(number)
    prompts = list(by_words)
    parts = _joined(prompts, threshold) if threshold < 1 else range(len(prompts))
    part_of = {row: part for part, words in zip(parts, prompts, strict=True) for row in by_words[words]}
    number_of: dict[int, int] = {}
    return [number_of.setdefault(part_of[row], len(number_of)) for row in range(len(rows))]


def same_group(rows: Sequence[Demonstration], groups: Sequence[int]) -> dict[str, frozenset[str]]:
    """Returns the ids of all rows of a row's group, its own included, by the id of the row.

    Args:
        rows: demonstrations.
        groups: the result of `near_duplicates` for these rows.
    """
    ids: defaultdict[int, set[str]] = defaultdict(set)
    for row, group in zip(rows, groups, strict=True):
        ids[group].add(row.id)
    members = {group: frozenset(found) for group, found in ids.items()}
    return {row.id: members[group] for row, group in zip(rows, groups, strict=True)}


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
        ICDPOError: the extra `eval` is not installed.
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


def _words(row: Demonstration) -> tuple[str, ...]:
    text = unicodedata.normalize("NFKC", row.prompt_text).casefold()
    return tuple(tokenize(text)) or (
        " ".join(text.split()),
    )  # a prompt of signs alone is compared as a whole


def _joined(prompts: Sequence[tuple[str, ...]], threshold: float) -> list[Any]:
    """Names the component of each prompt, given as its words."""
    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError:
        raise ICDPOError('near-duplicates need an extra: pip install "icdpo-chains[eval]"') from None
    from scipy.cluster.hierarchy import DisjointSet

    grams = _grams(prompts)
    sizes = np.diff(grams.indptr)
    index = MinHashLSH(threshold, _PERMUTATIONS, weights=(_FALSE_POSITIVES, _FALSE_NEGATIVES))
    of_each = np.split(grams.indices, grams.indptr[1:-1])
    components = DisjointSet(range(len(prompts)))
    present = np.zeros(grams.shape[1], dtype=np.int32)
    for prompt, sketch in enumerate(MinHash.generator(of_each, num_perm=_PERMUTATIONS, hashfunc=int)):
        others = [other for other in index.query(sketch) if not components.connected(prompt, other)]
        if others:
            present[of_each[prompt]] = 1
            shared = grams[others] @ present
            present[of_each[prompt]] = 0
            similarity = shared / (sizes[prompt] + sizes[others] - shared)
            for other in np.array(others)[similarity > threshold].tolist():
                components.merge(prompt, other)
        index.insert(prompt, sketch, check_duplication=False)
    return [components[prompt] for prompt in range(len(prompts))]


def _grams(prompts: Sequence[tuple[str, ...]]) -> Any:
    """Returns the word 2-grams of each prompt: a sparse matrix of ones, int32 [prompts, 2-grams]."""
    from scipy.sparse import csr_array

    number_of: defaultdict[tuple[str, ...], int] = defaultdict()
    number_of.default_factory = number_of.__len__  # a new 2-gram gets the next number
    rows = [sorted({number_of[gram] for gram in _pairs(words)}) for words in prompts]
    ends = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    columns = np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=ends[-1])
    ones = np.ones(len(columns), dtype=np.int32)
    return csr_array((ones, columns, ends), shape=(len(rows), len(number_of)))


def _pairs(words: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    return pairwise(words) if len(words) > 1 else [words]


def _log_refused(row: RefusedRow) -> None:
    _log.warning("refused: %s", row)
