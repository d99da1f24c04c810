"""How long a store takes to fill, to open and to search, by its size.

The demonstrations are synthetic: prompts of about 60 words, drawn from 30,000 by Zipf's law, so that a
query shares its common words with most prompts and its rare ones with few. The vectors come from a hash: no
model is loaded, and the time that embedding takes is subtracted. Opening is measured in a new process, from
opening the directory to the first answer, so that it includes the index that retrieval builds.

    python benchmarks/retrieval.py --size 1000 --size 10000 --size 100000
"""

from __future__ import annotations

import json
import multiprocessing
import platform
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.retrieval import TwoStageRetriever
from icdpo_chains.demonstrations.store import DemonstrationStore

VOCABULARY, WORDS, DIMENSION = 30_000, 60, 384


class HashEmbedder:
    """Unit vectors in random directions, and the seconds that went into them."""

    name = "benchmark-hash"
    seconds = 0.0

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns the same vector for the same text."""
        began = time.perf_counter()
        vectors = np.stack(
            [
                np.random.default_rng(zlib.crc32(text.encode())).standard_normal(DIMENSION, np.float32)
                for text in texts
            ]
        )
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self.seconds += time.perf_counter() - began
        return vectors


def prompts(seed: int) -> Iterator[str]:
    """Yields prompts without end."""
    draw = np.random.default_rng(seed)
    share = 1 / np.arange(1, VOCABULARY + 1)
    share /= share.sum()
    while True:
        words = draw.choice(VOCABULARY, size=(1000, 2 * WORDS), p=share)
        for row, length in zip(words, draw.integers(1, 2 * WORDS, size=1000), strict=True):
            yield " ".join(f"w{word}" for word in row[:length])


def fill(path: Path, size: int) -> float:
    """Fills a new store; returns demonstrations a second, without the time for embedding."""
    embedder = HashEmbedder()
    rows = (
        Demonstration(prompt, f"A good answer, number {i}.", f"A bad answer, number {i}.", {"row": i})
        for i, prompt in enumerate(islice(prompts(0), size))
    )
    began = time.perf_counter()
    with DemonstrationStore(path, embedder=embedder) as store:
        store.add(rows)
    return size / (time.perf_counter() - began - embedder.seconds)


def search(path: Path, queries: int) -> dict[str, float]:
    """Opens a store and searches it; runs in a process of its own, which has imported nothing of Chroma."""
    embedder = HashEmbedder()
    began = time.perf_counter()
    with DemonstrationStore(path, embedder=embedder, read_only=True) as store:  # as `icdpo ask` does
        retriever = TwoStageRetriever(store)
        questions = prompts(1)
        retriever.retrieve(next(questions))
        opened = time.perf_counter() - began
        taken = []
        for question in islice(questions, queries):
            embedder.seconds, began = 0.0, time.perf_counter()
            retriever.retrieve(question)
            taken.append(1000 * (time.perf_counter() - began - embedder.seconds))
    return {
        "open_s": opened,
        "median_ms": float(np.median(taken)),
        "p95_ms": float(np.percentile(taken, 95)),
    }


def main(
    size: Annotated[list[int], typer.Option(help="Demonstrations; may be given several times.")] = [  # noqa: B006
        1_000,
        10_000,
        100_000,
    ],
    queries: Annotated[int, typer.Option(help="Retrievals that are timed.")] = 200,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the figures there.")] = None,
) -> None:
    """Prints the rate of import, seconds to open, and milliseconds of a retrieval beyond embedding."""
    console = Console()
    machine = platform.processor() or platform.machine()
    console.print(f"two-stage retrieval, k = 2 of a pool of 20, {queries} queries, {machine}")
    table = Table("demonstrations", "import, a second", "open, s", "median, ms", "95 %, ms")
    rows: list[dict[str, float]] = []
    for count in size:
        with tempfile.TemporaryDirectory() as directory:
            rate = fill(Path(directory) / "store", count)
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
                figures = fresh.submit(search, Path(directory) / "store", queries).result()
        table.add_row(
            f"{count:,}",
            f"{rate:,.0f}",
            f"{figures['open_s']:.1f}",
            f"{figures['median_ms']:.1f}",
            f"{figures['p95_ms']:.1f}",
        )
        rows.append({"size": count, "import_per_s": rate, **figures})
    console.print(table)
    if json_path is not None:
        json_path.write_text(json.dumps({"machine": machine, "queries": queries, "rows": rows}, indent=2))


if __name__ == "__main__":
    typer.run(main)
