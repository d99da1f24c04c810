"""Demonstrations that are written are read back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files import read_demonstrations
from icdpo_chains.demonstrations.files.write import write_demonstrations

TEXTS = [
    "\n\nHuman: Hi\n\nAssistant: Hello",
    "<|im_start|>user\nHi<|im_end|>",
    '[{"role": "assistant", "content": "Hi"}]',
    "Write &lt; for <",
    "[INST] Hi [/INST] Hello</s>",
    " spaces \n",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("place", ["prompt", "chosen", "rejected", "alone"])
def test_a_text_that_looks_like_a_dialogue_comes_back_as_it_was(
    tmp_path: Path, text: str, place: str
) -> None:
    given = {"prompt": "Why?", "chosen": "So.", "rejected": "No.", place: text}
    if place == "alone":
        given = {"prompt": text, "rejected": "No."}
    item = Demonstration(**given, metadata={"note": text})
    write_demonstrations(tmp_path / "x.jsonl", [item])
    (back,) = read_demonstrations(tmp_path / "x.jsonl")
    assert (back.id, back.metadata) == (item.id, item.metadata)
