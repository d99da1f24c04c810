"""Near-duplicates: `near_duplicates` groups prompts, `duplicates` finds repeated demonstrations."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np

from icdpo_chains.demonstrations.bm25_index import tokenize
from icdpo_chains.demonstrations.demonstration import Demonstration

__all__ = ["duplicates", "near_duplicates", "same_group"]

_PERMUTATIONS = 96
# A missed pair is a leak; a false pair costs its verification alone.
_FALSE_POSITIVES, _FALSE_NEGATIVES = 0.1, 0.9


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


def duplicates(
    demonstrations: Iterable[Demonstration], threshold: float = 0.9
) -> list[tuple[Demonstration, Demonstration]]:
    """Finds demonstrations that nearly repeat an earlier one, prompt and answers together.

    A pair is never a duplicate of a thumb, nor a thumb up of a thumb down.

    Args:
        demonstrations: the demonstrations in the order of insertion.
        threshold: see `near_duplicates`.

    Returns:
        Pairs of a demonstration and its duplicate.

    Raises:
        ValueError: the threshold is out of range.
    """
    rows = list(demonstrations)
    # As one text, because near_duplicates compares prompts.
    whole = [Demonstration("\n".join([row.prompt_text, *_answers(row)]), "any") for row in rows]
    first: dict[tuple[int, bool, bool], Demonstration] = {}
    found = []
    for row, group in zip(rows, near_duplicates(whole, threshold), strict=True):
        earlier = first.setdefault((group, row.chosen is None, row.rejected is None), row)
        if earlier is not row:
            found.append((earlier, row))
    return found


def _answers(row: Demonstration) -> Sequence[str]:
    return [answer for answer in (row.chosen, row.rejected) if answer is not None]


def _words(row: Demonstration) -> tuple[str, ...]:
    text = unicodedata.normalize("NFKC", row.prompt_text).casefold()
    return tuple(tokenize(text)) or (
        " ".join(text.split()),
    )  # a prompt of signs alone is compared as a whole


def _joined(prompts: Sequence[tuple[str, ...]], threshold: float) -> list[Any]:
    """Names the component of each prompt, given as its words."""
    from datasketch import MinHash, MinHashLSH
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
