"""`store_statistics`: the numbers of pairs, thumbs, contradictions and near-duplicates of a store."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.duplicates import near_duplicates
from icdpo_chains.demonstrations.pairing import is_tie, votes_of
from icdpo_chains.foundation.printable import counted

__all__ = ["StoreStatistics", "store_statistics"]

_LETTERS = 200
"""The number of letters that decide a prompt's script."""


@dataclass(frozen=True)
class StoreStatistics:
    """Counts of demonstrations.

    Attributes:
        pairs: demonstrations with a chosen and a rejected answer.
        ups: demonstrations with only a chosen answer.
        downs: demonstrations with only a rejected answer.
        ties: demonstrations with equally many thumbs up and down, which are not shown.
        contradicted: answers with thumbs up and thumbs down, or chosen in one demonstration and rejected in
            another with the same prompt.
        prompts: distinct prompts.
        near_duplicates: demonstrations with nearly the same prompt as an earlier one.
        scripts: demonstrations by the script of their prompt (`"LATIN"`, `"CJK"`, `"CYRILLIC"`, ...).
    """

    pairs: int
    ups: int
    downs: int
    ties: int
    contradicted: int
    prompts: int
    near_duplicates: int
    scripts: Mapping[str, int]

    @property
    def mostly_not_latin(self) -> bool:
        """Whether most prompts are in another script than Latin, which the default embedder reads badly."""
        return 2 * self.scripts.get("LATIN", 0) < sum(self.scripts.values())

    def lines(self) -> list[str]:
        """Returns the counts as lines of text."""
        scripts = ", ".join(f"{name.lower()} {count}" for name, count in self.scripts.items())
        lines = [
            f"{counted(self.pairs, 'pair')}, {counted(self.ups, 'lone chosen answer')}, "
            f"{counted(self.downs, 'lone rejected answer')}",
            f"{counted(self.prompts, 'different prompt')}; demonstrations whose prompt nearly repeats an "
            f"earlier one: {self.near_duplicates:,}",
            f"answers with contradictory thumbs: {self.contradicted:,}; not shown, because as many thumbs "
            f"are up as down: {self.ties:,}",
            f"scripts of the prompts: {scripts or 'none'}",
        ]
        if self.mostly_not_latin:
            lines.append(
                "note: the default embedder all-minilm-l6-v2 is English. Give the store another one in "
                'Python, such as SentenceTransformerEmbedder("paraphrase-multilingual-MiniLM-L12-v2")'
            )
        return lines


def store_statistics(demonstrations: Iterable[Demonstration]) -> StoreStatistics:
    """Counts demonstrations."""
    rows = list(demonstrations)
    ties = {row.id for row in rows if is_tie(row)}
    alone = [row for row in rows if not row.is_pair and row.id not in ties]
    sides: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        for side, answer in (("chosen", row.chosen), ("rejected", row.rejected)):
            if answer is not None:
                sides[row.prompt_id, answer].add(side)
    mixed = {
        (row.prompt_id, row.chosen or row.rejected) for row in rows if not row.is_pair and _is_mixed(row)
    }
    return StoreStatistics(
        pairs=sum(row.is_pair for row in rows),
        ups=sum(row.chosen is not None for row in alone),
        downs=sum(row.rejected is not None for row in alone),
        ties=len(ties),
        contradicted=len(mixed | {answer for answer, found in sides.items() if len(found) > 1}),
        prompts=len({row.prompt_id for row in rows}),
        near_duplicates=len(rows) - len(set(near_duplicates(rows))) if rows else 0,
        scripts=dict(Counter(_script(row.prompt_text) for row in rows).most_common()),
    )


def _is_mixed(row: Demonstration) -> bool:
    return all(votes_of(row).values())


def _script(text: str) -> str:
    """Returns the script of most letters: the first word of their Unicode names, or `"none"`."""
    letters = [letter for letter in text if letter.isalpha()][:_LETTERS]
    names = Counter(unicodedata.name(letter, "unknown").split()[0] for letter in letters)
    return names.most_common(1)[0][0] if names else "none"
