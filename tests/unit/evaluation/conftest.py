"""Tiny models with random weights, and preferences that they can tell apart."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.transformers.policy import TransformersPolicy

TINY: dict[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "max_position_embeddings": 512,
    "initializer_range": 0.4,
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": TINY,
    "gemma2": {**TINY, "sliding_window": 16, "query_pre_attn_scalar": 12},  # can't share a prompt
    "gpt2": {"n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 512, "initializer_range": 0.4},
}


def tiny_policy(architecture: str = "llama", seed: int = 11) -> TransformersPolicy:
    tokenizer = byte_tokenizer()
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        architecture,
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **ARCHITECTURES[architecture],
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    return TransformersPolicy(model, tokenizer, f"tiny-{architecture}")


@pytest.fixture(scope="session")
def tiny() -> TransformersPolicy:
    return tiny_policy()


@pytest.fixture(scope="session", params=ARCHITECTURES)
def any_tiny(request: pytest.FixtureRequest) -> TransformersPolicy:
    return tiny_policy(request.param)


@pytest.fixture(scope="session")
def pairs() -> list[Demonstration]:
    """Preferences that are easy to tell: letters are chosen, digits rejected."""
    words = [
        "apple",
        "pear",
        "plum",
        "cherry",
        "fig",
        "grape",
        "lemon",
        "lime",
        "mango",
        "melon",
        "olive",
        "date",
    ]
    return [
        Demonstration(f"Say {word}.", f"{word} and {word[::-1]}", f"{i}{i + 1}{i + 2} {i * 37 % 1000}")
        for i, word in enumerate(words * 2)
    ]
