"""How long a store takes to fill, to open and to search, and how much memory, by its size.

The demonstrations are synthetic: prompts of about 60 words, drawn from 30,000 by Zipf's law, so that a
query shares its common words with most prompts and its rare ones with few. The vectors come from a hash: no
model is loaded, and the time that embedding takes is subtracted. Opening is measured in a new process, from
opening the directory to the first answer, so that it includes the index that retrieval builds.

    python benchmarks/retrieval.py --size 1000 --size 10000 --size 100000
    python benchmarks/retrieval.py --size 1000000 --directory big --server    # hours; 6 GB of memory
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import platform
import resource
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import psutil
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from icdpo_chains.demonstrations.chroma.adding import AddReport
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import StoreUnavailableError

T = TypeVar("T")
Figures = dict[str, float]
VOCABULARY, WORDS, DIMENSION = 30_000, 60, 384
LATER = 5_000
"""So many are added once more to a full store, by another client."""


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


def demonstrations(seed: int, size: int) -> Iterator[Demonstration]:
    """Yields so many demonstrations."""
    for i, prompt in enumerate(islice(prompts(seed), size)):
        yield Demonstration(prompt, f"A good answer, number {i}.", f"A bad answer, number {i}.", {"row": i})


def peak_gb() -> float:
    """Returns the most memory that this process has had, in GB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def fill(path: Path, size: int) -> Figures:
    """Fills a store; gives demonstrations a second, without the time for embedding."""
    embedder = HashEmbedder()
    began = time.perf_counter()

    def say(report: AddReport) -> None:
        if report.total % 51_200 == 0:
            sys.stderr.write(f"{report.total:,} after {time.perf_counter() - began:,.0f} s\n")

    with DemonstrationStore(path, embedder=embedder) as store:
        added = store.add(demonstrations(0, size), on_batch=say).added
    seconds = time.perf_counter() - began - embedder.seconds
    return {"import_per_s": added / seconds, "import_peak_gb": peak_gb()}


def search(connect: Callable[..., DemonstrationStore], queries: int) -> Figures:
    """Opens a store and searches it; runs in a process of its own, which has imported nothing of Chroma."""
    embedder = HashEmbedder()
    began = time.perf_counter()
    with connect(embedder=embedder) as store:
        connected = time.perf_counter() - began
        retriever = TwoStageRetriever(store)
        questions = prompts(1)
        retriever.retrieve(next(questions))
        opened = time.perf_counter() - began
        taken, nearest = [], []
        for question in islice(questions, queries):
            embedder.seconds, began = 0.0, time.perf_counter()
            retriever.retrieve(question)
            taken.append(1000 * (time.perf_counter() - began - embedder.seconds))
        for question in islice(questions, queries):
            vector = store.embed([question])[0]
            began = time.perf_counter()
            store.nearest(vector, 20)
            nearest.append(1000 * (time.perf_counter() - began))
    return {
        "connect_s": connected,
        "open_s": opened,
        "median_ms": float(np.median(taken)),
        "p95_ms": float(np.percentile(taken, 95)),
        "nearest_ms": float(np.median(nearest)),
        "peak_gb": peak_gb(),
    }


@contextlib.contextmanager
def served(path: Path) -> Iterator[tuple[int, psutil.Process]]:
    """Runs a Chroma server over a store's directory, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    chroma = [Path(sys.executable).with_name("chroma"), "run", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen([*chroma, "--path", path], stdout=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(StoreUnavailableError):
                DemonstrationStore.connect(port=port, embedder=HashEmbedder()).close()
                break
            if server.poll() is not None:
                raise RuntimeError(f"chroma run ended with {server.returncode}")
            time.sleep(0.2)
        yield port, psutil.Process(server.pid)
    finally:
        server.kill()
        server.wait()


def search_server(path: Path, queries: int) -> Figures:
    """The same over a server, whose memory is counted apart; and what adding to it takes."""
    with served(path) as (port, server):
        figures = alone(search, partial(DemonstrationStore.connect, port=port), queries)
        embedder = HashEmbedder()
        with DemonstrationStore.connect(port=port, embedder=embedder) as store:
            began = time.perf_counter()
            store.add(demonstrations(2, LATER))
            figures["import_per_s"] = LATER / (time.perf_counter() - began - embedder.seconds)
        figures["server_gb"] = server.memory_info().rss / 1e9
    return {f"server_{name.removeprefix('server_')}": value for name, value in figures.items()}


def alone(call: Callable[..., T], *arguments: object) -> T:
    """Makes a call in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(call, *arguments).result()


COLUMNS = {
    "import, a second": ("import_per_s", ",.0f"),
    "its peak, GB": ("import_peak_gb", ".1f"),
    "open, s": ("open_s", ".1f"),
    "peak, GB": ("peak_gb", ".1f"),
    "median, ms": ("median_ms", ".1f"),
    "95 %, ms": ("p95_ms", ".1f"),
    "vectors alone, ms": ("nearest_ms", ".1f"),
}


def main(
    size: Annotated[list[int], typer.Option(help="Demonstrations; may be given several times.")] = [  # noqa: B006
        1_000,
        10_000,
        100_000,
    ],
    queries: Annotated[int, typer.Option(help="Retrievals that are timed.")] = 200,
    directory: Annotated[
        Path | None, typer.Option(help="Keep the stores there; one that is there is not filled again.")
    ] = None,
    server: Annotated[bool, typer.Option("--server", help="Also over `chroma run`.")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the figures there.")] = None,
) -> None:
    """Prints the rate of import, seconds to open, and milliseconds of a retrieval beyond embedding."""
    console = Console()
    machine = platform.processor() or platform.machine()
    console.print(f"two-stage retrieval, k = 2 of a pool of 20, {queries} queries, {machine}")
    table = Table("demonstrations", *COLUMNS)
    rows: list[Figures] = []
    with contextlib.ExitStack() as stack:
        parent = directory or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for count in size:
            path = parent / str(count)
            figures: Figures = {"size": count}
            if not path.exists():
                figures |= alone(fill, path, count)
            # Read-only, as `icdpo ask` does.
            figures |= alone(search, partial(DemonstrationStore, path, read_only=True), queries)
            shown = [figures]
            if server:
                over = search_server(path, queries)
                figures |= over
                shown.append({name.removeprefix("server_"): value for name, value in over.items()})
            rows.append(figures)
            for label, row in zip((f"{count:,}", "over a server"), shown, strict=False):
                cells = (format(row[name], how) if name in row else "" for name, how in COLUMNS.values())
                table.add_row(label, *cells)
    console.print(table)
    if json_path is not None:
        json_path.write_text(json.dumps({"machine": machine, "queries": queries, "rows": rows}, indent=2))


if __name__ == "__main__":
    typer.run(main)
