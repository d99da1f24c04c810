"""Tables as text."""

import re

from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.evaluation.comparison.comparison import SystemSummary
from icdpo_chains.evaluation.report.tables import Table, comparison_table, escaped_markdown, visible
from icdpo_chains.evaluation.statistics import Interval

BARE = SystemSummary("base", 3, None, None, None, 0, 5.0, float("nan"), 0.5, None, 1234.5, 10.0)


@given(st.lists(st.lists(st.text(), min_size=3, max_size=3), min_size=1, max_size=3))
def test_no_cell_leaves_its_place_in_a_markdown_table(cells: list[list[str]]) -> None:
    lines = Table("t", ("a", "b", "c"), tuple(map(tuple, cells))).markdown().split("\n")
    assert len(lines) == 2 + len(cells)
    for line in lines:
        assert line.splitlines() == [line]
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 4


@given(st.text())
def test_no_text_becomes_markup(text: str) -> None:
    shown = escaped_markdown(text)
    assert not re.search(r"[<>$]|(?<!\\)(?:\\\\)*[`*\[\]]", shown)
    shown.encode("utf-8")


def test_names_stay_readable() -> None:
    assert escaped_markdown("max_tokens: ICDPO (S^) + x") == "max_tokens: ICDPO (S^) + x"


@given(st.text(alphabet=st.one_of(st.characters(), st.characters(categories=["Cc", "Cs"]))))
def test_any_text_can_be_shown(text: str) -> None:
    assert not re.search("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", visible(text))


def test_what_was_not_measured_has_no_column() -> None:
    table = comparison_table([BARE], against="base", toxicity="toxicity")
    assert table.header == ("system", "answers", "words", "refusals", "seconds", "tokens")
    assert table.rows == (("Base", "3", "5.0", "50 %", "1234", "10"),)


def test_what_was_measured_of_one_system_has_a_column() -> None:
    whole = SystemSummary(
        "icdpo",
        4,
        Interval(0.1234, -0.5, 1.0),
        0.0001,
        Interval(0.625, 0.25, 1.0),
        2,
        7.25,
        0.5,
        0.0,
        0.01,
        0.12345,
        99.6,
    )
    table = comparison_table([whole, BARE], against="few_shot", toxicity="profanity")
    shown = dict(zip(table.header, table.rows[0], strict=True))
    assert shown["reward"] == "0.123 (-0.500 to 1.000)"
    assert shown["p (reward, Base)"] == "< 0.001"
    assert shown["win rate against Few-shot"] == "62 % (25 to 100); 2 failed"
    assert (shown["profanity"], shown["seconds"], shown["tokens"]) == ("0.010", "0.123", "100")
    assert table.rows[1][table.header.index("reward")] == ""
    assert table.columns("system", "nothing", "reward").header == ("system", "reward")
