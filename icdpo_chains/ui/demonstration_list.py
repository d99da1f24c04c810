"""`page_of`: a page of the list of demonstrations, in the order of the store or of likeness to a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from icdpo_chains.foundation.printable import counted, one_line, rounded

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.demonstration import Demonstration
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["PAGE_SIZE", "Page", "label_of", "page_of"]

PAGE_SIZE = 8

_MOST_FOUND = 5 * PAGE_SIZE
_WIDTH = 160


@dataclass(frozen=True)
class Page:
    """A page of the list.

    Attributes:
        labels: a text of several lines for each demonstration.
        ids: the demonstrations' ids, in the same order.
        number: the page's number, from 1.
        count: the number of pages, at least 1.
        caption: a line above the list that names its contents.
    """

    labels: tuple[str, ...]
    ids: tuple[str, ...]
    number: int
    count: int
    caption: str

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Pairs of a label and an id."""
        return list(zip(self.labels, self.ids, strict=True))


def page_of(store: DemonstrationStore, query: str, number: int) -> Page:
    """Reads a page.

    Args:
        store: the store.
        query: the text to compare prompts with; blank for the store's order.
        number: the number of the page; a number out of range gives the nearest page.

    Raises:
        StoreError: the store can't be read.
        InvalidInputError: the query is not valid Unicode.
    """
    total = len(store)
    found = bool(query.strip())
    listed = min(total, _MOST_FOUND) if found else total
    count = max(1, -(-listed // PAGE_SIZE))
    number = min(max(1, number), count)
    offset = (number - 1) * PAGE_SIZE
    rows: list[tuple[Demonstration, float | None]]
    if found and total:
        # Always as many: equal similarities may fall on either side of another limit.
        rows = [*store.search(query, k=_MOST_FOUND)[offset : offset + PAGE_SIZE]]
    else:
        rows = [(item, None) for item in store.list(limit=PAGE_SIZE, offset=offset)]
    held = counted(total, "demonstration")
    what = f"The {listed} nearest of {held}" if found else held
    return Page(
        tuple(label_of(item, near) for item, near in rows),
        tuple(item.id for item, _ in rows),
        number,
        count,
        f"{what}; page {number:,} of {count:,}"
        if total
        else "No demonstrations yet: add one, or import a file",
    )


def label_of(item: Demonstration, similarity: float | None) -> str:
    """Returns a demonstration as lines of text: its last question, its answers, its likeness to the query."""
    earlier = len(item.messages) - 1
    lines = [one_line(item.messages[-1].text, _WIDTH)]
    if earlier:
        lines[0] += f" (after {counted(earlier, 'earlier turn')})"
    if item.chosen is not None:
        lines.append(f"\N{HEAVY CHECK MARK}\N{VARIATION SELECTOR-15} {one_line(item.chosen, _WIDTH)}")
    if item.rejected is not None:
        lines.append(f"\N{BALLOT X} {one_line(item.rejected, _WIDTH)}")
    if similarity is not None:
        lines.append(f"similarity {rounded(similarity, 2)}")
    return "\n".join(lines)
