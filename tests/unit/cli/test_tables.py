"""How candidates are shown."""

import io
import unicodedata
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from icdpo_chains import Candidate, FakePolicy, ICDPOResult
from icdpo_chains.cli.tables import candidates_table, coloured, shortened
from icdpo_chains.foundation.printable import printable
from icdpo_chains.policies.sampling import FinishReason
from icdpo_chains.result import Usage

TOKENIZER = FakePolicy().tokenizer
BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def candidate(text: str, *, shown: str | None = None) -> Candidate:
    ids = tuple(TOKENIZER(text, add_special_tokens=False, split_special_tokens=True).input_ids)
    scores = tuple(float(i) for i in range(len(ids)))
    return Candidate(text if shown is None else shown, 1.0, -1.0, -2.0, len(ids), ids, scores, "stop", 0)


def test_likelier_is_green_and_less_likely_red() -> None:
    ids = tuple(TOKENIZER("abc", add_special_tokens=False).input_ids)
    item = Candidate("abc", 0.0, -1.0, -1.0, 3, ids, (0.5, 0.0, -3.0), "stop", 0)
    spans = [(span.start, span.style) for span in coloured(item, TOKENIZER).spans]
    assert (0, "green") in spans
    assert (2, "bold red") in spans
    assert 1 not in [start for start, style in spans if style]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_nothing_that_is_printed_controls_a_terminal(text: str) -> None:
    out = io.StringIO()
    Console(file=out, width=80, markup=False, emoji=False).print(shortened(text, 40))
    for shown in (out.getvalue(), printable(text)):
        assert not any((ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 for c in shown)
        assert not any(unicodedata.bidirectional(c) in BIDI for c in shown)


def test_markup_in_a_text_is_text() -> None:
    assert shortened("[bold]x[/bold] :smile:", 40).plain == "[bold]x[/bold] :smile:"


@pytest.mark.parametrize("reason", [*get_args(FinishReason), None])
def test_every_way_to_finish_has_its_words(reason: FinishReason | None) -> None:
    shown = replace(candidate("fine"), finish_reason=reason)
    result = ICDPOResult((shown,), (), (), Usage(1, 1, 1), {}, "fake", "base", "mean", 0)
    assert len(candidates_table(result, TOKENIZER).rows) == 1
