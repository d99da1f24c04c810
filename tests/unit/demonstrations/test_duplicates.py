"""Near-duplicate prompts against a slow twin, and demonstrations that repeat earlier ones."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icdpo_chains import Demonstration
from icdpo_chains.demonstrations.duplicates import duplicates, near_duplicates, same_group

LONG = "please tell me how the old clock on the tower of our town has been kept going for all these years"
EGG = "How long do I boil a large egg from the fridge so that the yolk stays soft and the white is firm"


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


def test_a_duplicate_repeats_prompt_and_answers() -> None:
    first = Demonstration(EGG, "Six minutes in boiling water, then straight into cold water.", "Dunno.")
    again = Demonstration(
        f"{EGG.upper()}?", "Six minutes in boiling water, then straight into cold water!", "Dunno"
    )
    other = Demonstration(
        EGG, "It depends on the altitude: ask a physicist for a table of pressures.", "Dunno."
    )
    up = Demonstration(EGG, first.chosen)
    down = Demonstration(EGG, None, first.chosen)
    assert duplicates([first, other, again, up, down]) == [(first, again)]
    assert duplicates([again, first]) == [(again, first)]
    assert duplicates([]) == []
    with pytest.raises(ValueError, match="threshold is 0"):
        duplicates([first], 0)
