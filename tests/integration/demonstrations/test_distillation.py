"""Distillation with real parts: a LangChain chat model teaches the default model, into a real store."""

from pathlib import Path

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel

from icdpo_chains import DemonstrationStore, SamplingParams, TransformersPolicy, read_demonstrations
from icdpo_chains.distillation import Distilled, distil

PROMPTS = ["How do I thank a neighbour?", "What is a good first plant?"]


@pytest.mark.slow
def test_a_langchain_model_teaches_the_default_model(policy: TransformersPolicy, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    sampling = SamplingParams(max_new_tokens=12)
    for expected in (Distilled(added=2), Distilled(already_there=2)):
        teacher = FakeListChatModel(responses=["Bake her a cake.", "Basil, on a sunny sill."])
        assert distil(PROMPTS, teacher, policy, out, seed=5, sampling=sampling) == expected
    made = list(read_demonstrations(out))
    assert [item.chosen for item in made] == ["Bake her a cake.", "Basil, on a sunny sill."]
    assert all(item.rejected and item.metadata["policy"] == policy.name for item in made)
    with DemonstrationStore(tmp_path / "store") as store:
        assert store.add(made).added == 2
        assert store.search(PROMPTS[1], k=1)[0][0] == made[1]
