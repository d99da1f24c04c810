"""Tiny models with random weights, one for each kind of key-value cache."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.transformers.policy import TransformersPolicy

TINY: dict[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "max_position_embeddings": 256,
    "initializer_range": 0.4,
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": TINY,
    "qwen3": TINY,
    "mistral": {**TINY, "sliding_window": 24},
    "gemma2": {**TINY, "sliding_window": 16, "query_pre_attn_scalar": 12},
    "gemma3_text": {**TINY, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]},
    "gpt2": {"n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 256, "initializer_range": 0.4},
    "gpt_neox": {**TINY, "rotary_pct": 0.5},
}


def tiny_policy(architecture: str) -> TransformersPolicy:
    tokenizer = byte_tokenizer()
    torch.manual_seed(11)
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


@pytest.fixture(scope="session", params=ARCHITECTURES)
def policy(request: pytest.FixtureRequest) -> TransformersPolicy:
    return tiny_policy(request.param)


@pytest.fixture(scope="session")
def llama() -> TransformersPolicy:
    return tiny_policy("llama")
