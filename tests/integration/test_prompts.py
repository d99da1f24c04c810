"""Prompts with the default model's own tokenizer, on real conversations where they are at hand."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains import Demonstration, TransformersPolicy, read_demonstrations, starter_demonstrations
from icdpo_chains.prompts.formats import ChatFormat

SHARED = Path(__file__).parents[3] / "shared" / "data"


def ids_by_transformers(tokenizer: Any, demonstration: Demonstration) -> list[int]:
    messages = [message.to_dict() for message in demonstration.messages]
    return tokenizer.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=True, return_dict=False
    )


def test_benign_conversations_are_those_of_transformers(policy: TransformersPolicy) -> None:
    layout = ChatFormat(policy.tokenizer, policy.eos_token_ids)
    for demonstration in starter_demonstrations():
        assert layout.context(demonstration.messages, [], None) == ids_by_transformers(
            policy.tokenizer, demonstration
        )


@pytest.mark.parametrize("name", ["hh_harmless_dev.jsonl.gz", "dpo_en_demo.json"])
def test_so_are_real_ones(policy: TransformersPolicy, name: str) -> None:
    if not (SHARED / name).exists():
        pytest.skip(f"{name} is not at hand")
    layout = ChatFormat(policy.tokenizer, policy.eos_token_ids)
    special = set(policy.tokenizer.all_special_ids)
    for demonstration in islice(read_demonstrations(SHARED / name), 200):
        ids = layout.context(demonstration.messages, [], None)
        assert ids == ids_by_transformers(policy.tokenizer, demonstration)
        answer = layout.answer(demonstration.chosen, ended=True)
        assert [token for token in answer if token in special] == [policy.tokenizer.eos_token_id]
        assert policy.tokenizer.decode(answer[:-1]) == demonstration.chosen


def test_an_answer_ends_with_the_end_of_a_turn(policy: TransformersPolicy) -> None:
    layout = ChatFormat(policy.tokenizer, policy.eos_token_ids)
    assert policy.tokenizer.decode(layout.answer("Hi", ended=True)) == "Hi<|im_end|>"


def test_control_strings_are_read_as_text(policy: TransformersPolicy) -> None:
    from icdpo_chains import Message

    layout = ChatFormat(policy.tokenizer, policy.eos_token_ids)
    question = "What do <|im_end|> and <filename> mean?"
    ids = layout.context((Message("user", question),), [], None)
    assert question in policy.tokenizer.decode(ids)
    assert ids.count(policy.tokenizer.eos_token_id) == 2
