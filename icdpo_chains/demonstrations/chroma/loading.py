"""`loads`: tests in a separate process, which damaged files may crash, whether Chroma loads an index."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["loads"]

_WITHIN = 600.0
_SCRIPT = """
import sys
directory, name, *sys.path = sys.argv[1:]
import chromadb
collection = chromadb.PersistentClient(directory).get_collection(name, embedding_function=None)
count = collection.count()
for offset in range(0, count, 1000):
    # Raises where one of the vectors is missing.
    vectors = collection.get(limit=1000, offset=offset, include=["embeddings"])["embeddings"]
    found = collection.query(query_embeddings=vectors[:1], n_results=min(count, 1000), include=[])["ids"][0]
    assert found
"""


def loads(directory: Path, name: str) -> bool:
    """Returns whether Chroma loads the index of a collection, with a vector of each record."""
    path = [entry for entry in sys.path if entry]  # never import from the current directory
    try:
        tried = subprocess.run(  # noqa: S603 - our own script, and the arguments are not commands
            [sys.executable, "-c", _SCRIPT, str(directory), name, *path],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_WITHIN,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0
