"""A process that writes to a Chroma server, or reads from it until all is there. Prints what it did as JSON."""

import json
import sys

from icdpo_chains import Demonstration, DemonstrationStore, FakeEmbedder, TwoStageRetriever

WRITERS, OWN, SHARED = 4, 60, 40


def own(writer: int) -> list[Demonstration]:
    return [Demonstration(f"own{writer}x{i} question", f"good {i}", f"bad {i}") for i in range(OWN)]


def shared() -> list[Demonstration]:
    return [Demonstration(f"shared{i} question", f"good {i}", f"bad {i}") for i in range(SHARED)]


def kept() -> list[Demonstration]:
    """What is there in the end: of their own, the writers remove the first ten."""
    return [*shared(), *(row for writer in range(WRITERS) for row in own(writer)[10:])]


def write(store: DemonstrationStore, writer: int) -> dict[str, int]:
    """Adds rows of its own and rows that all add, a few at a time, and takes some away."""
    mine, added = own(writer), 0
    for start in range(0, OWN, 6):
        added += store.add(mine[start : start + 6]).added
        store.add(shared()[start * SHARED // OWN : (start + 6) * SHARED // OWN])
    return {"added": added, "removed": store.remove([row.id for row in mine[:10]])}


def read(store: DemonstrationStore) -> dict[str, int]:
    """Retrieves until each row that is kept is the first that is found for its own question."""
    retriever = TwoStageRetriever(store, k=2, require_rejected=True)
    waiting, asked = {row.id: row for row in kept()}, 0
    while waiting:
        for row in list(waiting.values()):
            asked += 1
            found = [item.demonstration for item in retriever.retrieve(row.messages)]
            assert len(set(found)) == len(found)
            if found and found[0] == row:
                del waiting[row.id]
    # Only those that never go away were waited for: what was removed must not be found in the end.
    return {"asked": asked}


if __name__ == "__main__":
    port, role, number = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    with DemonstrationStore.connect(port=port, collection="several", embedder=FakeEmbedder()) as store:
        print(json.dumps(write(store, number) if role == "write" else read(store)))
