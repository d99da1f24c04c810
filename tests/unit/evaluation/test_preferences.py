"""Pairs are read whole, near-duplicates are found, and no split tears them apart."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icdpo_chains import Demonstration, RefusedRow
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.evaluation.preferences import read_preferences, split

LONG = "please tell me how the old clock on the tower of our town has been kept going for all these years"


def rows(*prompts: str) -> list[Demonstration]:
    return [Demonstration(prompt, f"good {i}", f"bad {i}") for i, prompt in enumerate(prompts)]


@given(st.data())
@settings(max_examples=40)
def test_a_planted_duplicate_is_never_torn_apart(data: st.DataObject) -> None:
    count = data.draw(st.integers(3, 14))
    prompts = [f"question {i} about subject {i} and matter {i}" for i in range(count)]
    planted = data.draw(st.lists(st.integers(0, count - 1), max_size=8))
    items = rows(*prompts, *(prompts[i].upper() + "?" for i in planted))
    seed = data.draw(st.integers(0, 5))
    shares = data.draw(st.sampled_from([{"a": 1.0}, {"a": 0.5, "b": 0.5}, {"a": 0.9, "b": 0.05, "c": 0.05}]))
    parts = split(items, shares, seed=seed)
    assert list(parts) == list(shares)
    assert sorted(row.id for part in parts.values() for row in part) == sorted(row.id for row in items)
    assert all(parts.values())
    place = {row.id: name for name, part in parts.items() for row in part}
    for position, original in enumerate(planted):
        assert place[items[count + position].id] == place[items[original].id]
    assert parts == split(items, shares, seed=seed)


def test_a_split_has_the_shares_asked_for_and_depends_on_the_seed() -> None:
    items = rows(*(f"subject{i} matter{i}" for i in range(100)))
    parts = split(items, {"a": 3, "b": 1}, seed=0)
    assert [len(part) for part in parts.values()] == [75, 25]
    assert parts != split(items, {"a": 3, "b": 1}, seed=1)
    assert list(parts["a"]) == [row for row in items if row in set(parts["a"])]  # in the order of the rows


def test_too_few_prompts_to_split() -> None:
    with pytest.raises(InvalidInputError, match=r"2 prompts .* 3 parts \(a, b, c\): give more rows"):
        split(rows("one", "two", "One!"), {"a": 1, "b": 1, "c": 1})


@pytest.mark.parametrize("shares", [{}, {"a": 0.0}, {"a": 1.0, "b": -1.0}, {"a": float("nan")}])
def test_shares_that_are_none(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="shares are"):
        split(rows("one"), shares)


def write(path: Path, *lines: Any) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_pairs_are_read_from_all_files_once_each(tmp_path: Path) -> None:
    one = {"prompt": "p", "chosen": "a", "rejected": "b"}
    two = {"prompt": "q", "chosen": "a", "rejected": "b"}
    first = write(tmp_path / "a.jsonl", one, {"prompt": "r", "chosen": "a"}, "{", one)
    second = tmp_path / "b.jsonl.gz"
    second.write_bytes(gzip.compress(json.dumps(two).encode() + b"\n" + json.dumps(one).encode()))
    refused: list[RefusedRow] = []
    assert [row.prompt for row in read_preferences([first, second], on_refused=refused.append)] == ["p", "q"]
    assert [row.line for row in refused] == [3]


def test_refused_rows_are_logged_where_nobody_listens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path / "a.jsonl", {"prompt": "p", "chosen": "a", "rejected": "b"}, "{")
    assert len(read_preferences([file])) == 1
    assert "a.jsonl:2" in caplog.text


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "a.jsonl: empty"),
        ([{"prompt": "p", "chosen": "a"}], "1 rows with one answer alone"),
        ([{"prompt": "p", "chosen": "a", "rejected": "a"}] * 2, "2 rows that can't be used .*the same"),
    ],
)
def test_a_file_without_a_pair_says_what_is_there(tmp_path: Path, lines: list[Any], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        read_preferences([write(tmp_path / "a.jsonl", *lines)])


def test_no_file_at_all() -> None:
    with pytest.raises(InvalidInputError, match="no file"):
        read_preferences([])
    with pytest.raises(FileNotFoundError):
        read_preferences(["nowhere.jsonl"])
