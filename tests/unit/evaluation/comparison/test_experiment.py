"""The parts never share a prompt, and every system can be built from them."""

from pathlib import Path

import pytest

from icdpo_chains import Demonstration, FakeEmbedder, SamplingParams
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.evaluation.comparison.catalog import SYSTEM_ENTRIES
from icdpo_chains.evaluation.comparison.experiment import SYSTEMS, VARIANTS, Experiment, divide
from icdpo_chains.policies.transformers.policy import TransformersPolicy


@pytest.fixture(scope="module")
def rows() -> list[Demonstration]:
    """More than the pairs of the conftest, no two of them nearly the same."""
    things = ["rope", "glass", "paper", "stone", "cloud", "river", "tower", "engine", "garden", "mirror"]
    verbs = ["paint", "carry", "melt", "fold", "count"]
    return [
        Demonstration(f"How do I {verb} a {thing} with {i} hands?", f"Gently, {thing}.", f"{i}{i}{i} no.")
        for i, (verb, thing) in enumerate((verb, thing) for verb in verbs for thing in things)
    ]


def build(tiny: TransformersPolicy, rows: list[Demonstration], directory: Path) -> Experiment:
    return Experiment(
        tiny,
        divide(rows, 3, seed=1),
        directory,
        n=2,
        k=1,
        sampling=SamplingParams(max_new_tokens=4),
        embedder=FakeEmbedder(),
    )


def test_the_parts_share_nothing_nor_nearly_so(rows: list[Demonstration]) -> None:
    copies = [Demonstration(f"  {row.prompt_text.upper()}!!", row.chosen, "Other.") for row in rows[:20]]
    parts = divide([*rows, *copies], 12, seed=4)
    words = [
        {row.prompt_text.strip(" !").casefold().rstrip("?") for row in part}
        for part in (parts.demonstrations, parts.judge, parts.prompts)
    ]
    assert not words[0] & words[1]
    assert not words[0] & words[2]
    assert not words[1] & words[2]
    assert len(parts.prompts) <= 12
    assert len(parts.demonstrations) > len(parts.judge) > 0
    assert parts == divide([*rows, *copies], 12, seed=4)
    assert parts != divide([*rows, *copies], 12, seed=5)


def test_too_few_preferences_are_refused_with_the_number(rows: list[Demonstration]) -> None:
    with pytest.raises(InvalidInputError, match="22 preferences can't hold out 3 prompts and leave 20"):
        divide(rows[:22], 3)
    with pytest.raises(ValueError, match="prompts is 0"):
        divide(rows, 0)


def test_every_system_answers_and_the_same_seed_gives_the_same(
    tiny: TransformersPolicy, rows: list[Demonstration], tmp_path: Path
) -> None:
    one = build(tiny, rows, tmp_path / "one")
    again = build(tiny, rows, tmp_path / "one")  # reads what the first has trained
    anew = build(tiny, rows, tmp_path / "two")
    question = one.parts.prompts[0].messages
    for name in (*SYSTEMS, *VARIANTS):
        answer = one.system(name).answer(question, 7)
        assert answer.tokens > 0
        assert answer == again.system(name).answer(question, 7), name
        assert answer == anew.system(name).answer(question, 7), name


def test_what_picks_and_what_judges_were_never_trained_on_the_same_row(
    tiny: TransformersPolicy, rows: list[Demonstration], tmp_path: Path
) -> None:
    found = build(tiny, rows, tmp_path)
    held_out = {row.id for row in found.parts.prompts}
    assert not found.reward.trained_on & found.judge.trained_on
    assert not (found.reward.trained_on | found.judge.trained_on) & held_out


def test_a_reward_model_of_other_preferences_is_refused(
    tiny: TransformersPolicy, rows: list[Demonstration], tmp_path: Path
) -> None:
    _ = build(tiny, rows, tmp_path).judge
    other = Experiment(tiny, divide(rows, 3, seed=2), tmp_path, embedder=FakeEmbedder())
    with pytest.raises(InvalidInputError, match="fitted from other preferences"):
        _ = other.judge


def test_an_adapter_of_other_demonstrations_is_refused(
    tiny: TransformersPolicy, rows: list[Demonstration], tmp_path: Path
) -> None:
    build(tiny, rows, tmp_path).system("sft_lora")
    build(tiny, rows, tmp_path).system("sft_lora")  # the same demonstrations: loaded
    other = Experiment(tiny, divide(rows, 3, seed=2), tmp_path, embedder=FakeEmbedder())
    with pytest.raises(InvalidInputError, match="trained on other demonstrations"):
        other.system("sft_lora")
    fewer = Experiment(tiny, divide(rows, 3, seed=1), tmp_path, embedder=FakeEmbedder(), sft_rows=2)
    with pytest.raises(InvalidInputError, match="trained on other demonstrations"):
        fewer.system("sft_lora")


def test_the_starter_set_does_not_give_the_answers_away(
    tiny: TransformersPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from icdpo_chains import starter_demonstrations

    rows = list(starter_demonstrations())
    found = Experiment(tiny, divide(rows, 5), tmp_path, k=1, embedder=FakeEmbedder())
    held_out = {row.prompt_text for row in found.parts.prompts}
    shown = found._starter().retrieve("Anything at all?", 1000)
    assert len(shown) >= len(rows) - 10
    assert not {item.demonstration.prompt_text for item in shown} & held_out


def test_each_entry_names_a_method_that_builds_its_system() -> None:
    assert all(callable(getattr(Experiment, entry.build)) for entry in SYSTEM_ENTRIES.values())
    assert len({entry.build for entry in SYSTEM_ENTRIES.values()}) == len(SYSTEMS)


def test_an_unknown_system_is_named(
    tiny: TransformersPolicy, rows: list[Demonstration], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"'magic' is unknown: use base, .*, k=1"):
        build(tiny, rows, tmp_path).system("magic")
