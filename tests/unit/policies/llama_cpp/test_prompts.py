"""Contexts that begin alike are read once; what is kept is bounded."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from icdpo_chains.errors import PolicyMemoryError
from icdpo_chains.policies.llama_cpp.branches import LlamaBranches
from icdpo_chains.policies.llama_cpp.prompts import Prompts


class FakeCells:
    """Keeps tokens as lists. The logits of a token are the tokens of its sequence, as numbers."""

    step = 32

    def __init__(self) -> None:
        self.cells = self.sequences = self.read_tokens = self.made = 0
        self.held: dict[int, list[int]] = {}

    def reserve(self, cells: int, sequences: int) -> bool:
        self.cells, self.sequences, self.held = cells, max(sequences, 8), {}
        self.made += 1
        return True

    def read(self, ids: Any, positions: Any, sequences: Any, outputs: Any) -> torch.Tensor:
        logits = []
        for token, position, sequence, output in zip(ids, positions, sequences, outputs, strict=True):
            row = self.held.setdefault(sequence, [])
            assert position == len(row), "a token is not at the end of its sequence"
            row.append(token)
            self.read_tokens += 1
            if output:
                logits.append(float(hash(tuple(row)) % 1000))
        assert sum(map(len, self.held.values())) <= self.cells * 4
        return torch.tensor(logits)[:, None]

    def fork(self, source: int, target: int, length: int) -> None:
        assert not self.held.get(target), "the target is not empty"
        self.held[target] = self.held[source][:length]

    def cut(self, sequence: int, length: int = 0) -> None:
        self.held[sequence] = self.held.get(sequence, [])[:length]


CONTEXT = list(range(100))


@pytest.fixture
def cells() -> FakeCells:
    return FakeCells()


def read(prompts: Prompts, *contexts: list[int], rows: int = 1) -> list[float]:
    with prompts.reading(contexts, rows, 10) as found:
        return [float(prompt.logits) for prompt in found]


def test_a_common_beginning_is_read_once(cells: FakeCells):
    prompts = Prompts(cells, True, 2)  # type: ignore[arg-type]
    first = read(prompts, CONTEXT)
    assert cells.read_tokens == 100
    assert read(prompts, CONTEXT) == first
    assert cells.read_tokens == 101  # the last token, for its logits
    read(prompts, [*CONTEXT[:60], 7, 8])
    assert cells.read_tokens == 103


def test_contexts_of_one_call_share_too(cells: FakeCells):
    prompts = Prompts(cells, True, 2)  # type: ignore[arg-type]
    one, two = read(prompts, CONTEXT, CONTEXT, rows=2)
    assert one == two
    assert cells.read_tokens == 101


def test_what_is_kept_is_bounded_and_the_oldest_goes_first(cells: FakeCells):
    prompts = Prompts(cells, True, 2)  # type: ignore[arg-type]
    contexts = [[start, *CONTEXT] for start in (1000, 2000, 3000)]
    for context in contexts:
        read(prompts, context)
    before = cells.read_tokens
    read(prompts, contexts[2])
    assert cells.read_tokens == before + 1
    read(prompts, contexts[0])
    assert cells.read_tokens == before + 1 + 101


@pytest.mark.parametrize(("forkable", "kept"), [(False, 4), (True, 0)])
def test_nothing_is_kept(cells: FakeCells, forkable: bool, kept: int):
    prompts = Prompts(cells, forkable, kept)  # type: ignore[arg-type]
    read(prompts, CONTEXT)
    read(prompts, CONTEXT)
    assert cells.read_tokens == 200
    assert not any(cells.held.values())


def test_rows_leave_and_give_their_sequences_back(cells: FakeCells):
    prompts = Prompts(cells, True, 1)  # type: ignore[arg-type]
    for _ in range(20):
        with prompts.reading([CONTEXT, CONTEXT[:50]], 8, 10) as found:
            rows = LlamaBranches(cells, prompts, found, [5, 3])  # type: ignore[arg-type]
            rows.read(torch.arange(8)[:, None])
            rows.keep(torch.tensor([1, 5, 6]))
            rows.read(torch.arange(3)[:, None])
            rows.close()
        assert sum(map(bool, cells.held.values())) == 1
    assert cells.made == 1


def test_an_error_leaves_nothing_behind(cells: FakeCells):
    prompts = Prompts(cells, True, 4)  # type: ignore[arg-type]
    with pytest.raises(KeyError), prompts.reading([CONTEXT], 4, 10):
        raise KeyError
    assert not any(cells.held.values())
    assert len(read(prompts, CONTEXT)) == 1


def test_a_longer_context_makes_the_cells_anew(cells: FakeCells):
    prompts = Prompts(cells, True, 1)  # type: ignore[arg-type]
    read(prompts, CONTEXT)
    read(prompts, CONTEXT * 20)
    assert cells.made == 2
    assert cells.cells >= 2000


def test_a_longer_context_takes_the_place_of_its_beginning(cells: FakeCells):
    prompts = Prompts(cells, True, 2)  # type: ignore[arg-type]
    read(prompts, [9] * 100, rows=20)  # makes more cells than all contexts take
    other = [7, *CONTEXT]
    read(prompts, other)
    for length in (50, 80, 80, 100, 100):
        read(prompts, CONTEXT[:length])
    before = cells.read_tokens
    read(prompts, other)
    assert cells.read_tokens == before + 1


def test_memory_that_could_not_be_made_is_not_used(cells: FakeCells, monkeypatch: pytest.MonkeyPatch):
    prompts = Prompts(cells, True, 2)  # type: ignore[arg-type]
    read(prompts, CONTEXT)

    def fail(count: int, sequences: int) -> bool:
        cells.cells = cells.sequences = 0
        cells.held = {}
        raise PolicyMemoryError

    with monkeypatch.context() as patched:
        patched.setattr(cells, "reserve", fail)
        with pytest.raises(PolicyMemoryError):
            read(prompts, CONTEXT * 20)
    before = cells.read_tokens
    read(prompts, CONTEXT)
    assert cells.read_tokens == before + 100
