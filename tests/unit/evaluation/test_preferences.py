"""Pairs are read whole, near-duplicates are found, and no split tears them apart."""

import gzip
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icdpo_chains import Demonstration, RefusedRow
from icdpo_chains.errors import ICDPOError, InvalidInputError
from icdpo_chains.evaluation.preferences import near_duplicates, read_preferences, same_group, split

LONG = "please tell me how the old clock on the tower of our town has been kept going for all these years"


def rows(*prompts: str) -> list[Demonstration]:
    return [Demonstration(prompt, f"good {i}", f"bad {i}") for i, prompt in enumerate(prompts)]


def slow_groups(items: list[Demonstration], threshold: float) -> list[int]:
    """Every pair of rows, one by one, and labels that spread until nothing changes."""

    def grams(item: Demonstration) -> set[tuple[str, ...]]:
        words = tuple("".join(c if c.isalnum() else " " for c in item.prompt_text.lower()).split())
        return set(itertools.pairwise(words)) if len(words) > 1 else {words}

    def near(a: Demonstration, b: Demonstration) -> bool:
        return grams(a) == grams(b) or len(grams(a) & grams(b)) / len(grams(a) | grams(b)) > threshold

    label = list(range(len(items)))
    for _ in items:
        for i, j in itertools.combinations(range(len(items)), 2):
            if near(items[i], items[j]):
                label[i] = label[j] = min(label[i], label[j])
    order: dict[int, int] = {}
    return [order.setdefault(value, len(order)) for value in label]


def test_the_same_words_are_one_group_however_they_are_written() -> None:
    found = near_duplicates(
        rows(
            "Why is the sky blue?",
            "Who wrote it?",
            "  why IS the\nsky blue",
            "ＷＨＹ is the sky blue!!",
            "?!",
            "!?",
            "?!",
        )
    )
    assert found == [0, 1, 0, 0, 2, 3, 2]


def test_one_changed_word_is_a_near_duplicate_and_a_shared_beginning_is_none() -> None:
    changed = LONG.replace("town", "village")
    other = " ".join(LONG.split()[:6]) + " best way to learn to swim as a grown person is"
    assert near_duplicates(rows(LONG, other, changed)) == [0, 1, 0]
    assert near_duplicates(rows(LONG, other, changed), threshold=1) == [0, 1, 2]


def test_groups_spread_from_one_to_the_next() -> None:
    words = LONG.split()
    steps = [" ".join([*(f"new{i}" for i in range(count)), *words[count:]]) for count in range(0, 9, 2)]
    assert near_duplicates(rows(steps[0], steps[-1])) == [0, 1]  # far apart by themselves
    assert near_duplicates(rows(*steps)) == [0] * len(steps)


@given(st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=7), min_size=1, max_size=12))
@settings(max_examples=60)
def test_it_agrees_with_every_pair_compared(prompts: list[list[str]]) -> None:
    items = rows(*map(" ".join, prompts))
    found, slow = near_duplicates(items), slow_groups(items, 0.6)
    # Hashing may miss a pair near the threshold; it may never join what is not near.
    for i, j in itertools.combinations(range(len(items)), 2):
        assert found[i] != found[j] or slow[i] == slow[j]
        if items[i].prompt == items[j].prompt:
            assert found[i] == found[j]
    assert found == near_duplicates(items)


def test_hashing_misses_next_to_nothing() -> None:
    draw = random.Random(3)
    words = [f"w{i}" for i in range(300)]
    originals = [draw.choices(words, k=20) for _ in range(40)]
    changed = [[*text[:9], "changed", *text[10:]] for text in originals]  # 17 of 21 2-grams shared: 0.81
    found = near_duplicates(rows(*map(" ".join, originals + changed)))
    assert sum(found[i] == found[i + 40] for i in range(40)) == 40


@pytest.mark.parametrize("threshold", [0, -1, 1.5, float("nan")])
def test_a_threshold_out_of_range(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold is"):
        near_duplicates(rows("a"), threshold)


def test_same_group_names_the_ids() -> None:
    items = rows("one", "two", "ONE")
    found = same_group(items, near_duplicates(items))
    assert found[items[0].id] == found[items[2].id] == {items[0].id, items[2].id}
    assert found[items[1].id] == {items[1].id}


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


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasketch", None)
    with pytest.raises(ICDPOError, match=r'pip install "icdpo-chains\[eval\]"'):
        near_duplicates(rows("one", "two"))
