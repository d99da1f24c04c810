"""The starter set: whole, in the package's own form, and free of what a model could learn wrongly from it."""

from __future__ import annotations

import importlib.resources
import json
from collections import Counter

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.starter import starter_demonstrations

BEHAVIOURS = {"helpful", "harmless", "honest", "polite"}
STARTER = starter_demonstrations()


def lines() -> list[str]:
    file = importlib.resources.files("icdpo_chains.demonstrations").joinpath("starter.jsonl")
    text = file.read_bytes().decode("utf-8")
    assert text.endswith("\n")
    # Not splitlines(), which would also split at a U+2028 inside an answer.
    return text[:-1].split("\n")


def test_there_are_enough_and_none_twice() -> None:
    assert len(STARTER) >= 60
    assert len({demonstration.id for demonstration in STARTER}) == len(STARTER)
    assert len({demonstration.prompt_text for demonstration in STARTER}) == len(STARTER)


def test_each_has_a_rejected_answer_and_its_metadata() -> None:
    for demonstration in STARTER:
        assert demonstration.rejected is not None
        assert set(demonstration.metadata) == {"source", "topic", "behaviour"}
        assert demonstration.metadata["source"] == "icdpo-chains starter"
        assert demonstration.metadata["topic"].strip()


def test_each_behaviour_is_shown_often() -> None:
    counts = Counter(demonstration.metadata["behaviour"] for demonstration in STARTER)
    assert set(counts) == BEHAVIOURS
    assert min(counts.values()) >= 10


def test_conversations_of_several_turns_are_among_them() -> None:
    several = [demonstration.messages for demonstration in STARTER if len(demonstration.messages) > 1]
    assert len(several) >= 10
    assert any(messages[0].role == "system" for messages in several)
    for messages in several:
        roles = [message.role for message in messages if message.role != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]


def test_each_line_is_what_to_dict_gives() -> None:
    written = [json.dumps(demonstration.to_dict(), ensure_ascii=False) for demonstration in STARTER]
    assert written == lines()
    assert [Demonstration.from_dict(json.loads(line)) for line in written] == STARTER


def test_length_does_not_give_the_chosen_answer_away() -> None:
    longer = sum(len(d.rejected or "") > len(d.chosen) for d in STARTER)
    assert 0.2 <= longer / len(STARTER) <= 0.6


def test_chosen_answers_fit_into_what_the_policy_samples() -> None:
    # An answer longer than the default 128 tokens would show the model to begin what it can't finish.
    assert max(len(demonstration.chosen.split()) for demonstration in STARTER) <= 110


def test_the_texts_hold_no_control_tokens_and_no_stray_blanks() -> None:
    for demonstration in STARTER:
        texts = [message.content for message in demonstration.messages]
        for text in [*texts, demonstration.chosen, demonstration.rejected or ""]:
            assert text == text.strip()
            assert not any(mark in text for mark in ("<|", "|>", "[INST]", "<s>", "</s>", "\r", "\t"))


def test_callers_get_lists_of_their_own() -> None:
    starter_demonstrations().clear()
    assert starter_demonstrations() == STARTER
