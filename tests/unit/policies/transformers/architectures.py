"""Tiny random models of each architecture that transformers builds in seconds."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from packaging.version import Version
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from icdpo_chains.policies.fake import byte_tokenizer

# The oldest transformers that the package allows compute some architectures in other ways, or not at all.
OLDER = Version(transformers.__version__) < Version("5.20")

SMALL: dict[str, Any] = {
    "attention_head_dim": 16,
    "attention_hidden_size": 64,
    "chunk_size": 8,
    "d_ff": 64,
    "d_kv": 16,
    "d_model": 64,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 64,
    "decoder_layers": 2,
    "encoder_layers": 2,
    "ffn_dim": 64,
    "ffn_hidden_size": 64,
    "first_k_dense_replace": 1,
    "head_dim": 16,
    "hidden_dim": 64,
    "hidden_size": 64,
    "initializer_range": 0.4,
    "intermediate_size": 64,
    "kv_channels": 16,
    "kv_lora_rank": 16,
    "lru_width": 64,
    "mamba_d_head": 16,
    "mamba_d_state": 16,
    "mamba_expand": 2,
    "mamba_n_groups": 1,
    "mamba_n_heads": 8,
    "max_position_embeddings": 256,
    "moe_intermediate_size": 32,
    "n_ctx": 256,
    "n_embd": 64,
    "n_group": 1,
    "n_groups": 1,
    "n_head": 4,
    "n_layer": 2,
    "n_positions": 256,
    "n_routed_experts": 4,
    "num_attention_heads": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "num_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "num_layers": 2,
    "num_local_experts": 4,
    "q_lora_rank": 16,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "rotary_dim": 8,
    "shared_expert_intermediate_size": 32,
    "sliding_window": 64,
    "state_size": 8,
    "topk_group": 1,
    "v_head_dim": 16,
}
"""Values for the settings of these names, where a configuration has them."""

_OWN: dict[str, dict[str, Any]] = {
    # Its layers run many times over: with larger weights, a rounding error grows to 0.04 on some CPUs.
    "hrm_text": {"initializer_range": 0.1},
    "mamba2": {"num_heads": 8, "head_dim": 16, "expand": 2},
}


def tiny_model(architecture: str) -> Any:
    """Returns a model in float32 with the vocabulary of `byte_tokenizer`."""
    kind = CONFIG_MAPPING[architecture]
    usual = kind()
    known = usual.to_dict()

    def is_set(name: str) -> bool:
        own = getattr(kind, "attribute_map", {}).get(name, name)
        return (name in known or hasattr(usual, name)) and not isinstance(getattr(kind, own, None), property)

    settings = {name: value for name, value in SMALL.items() if is_set(name)}
    if is_set("qk_rope_head_dim"):
        settings |= {"num_key_value_heads": 4, "head_dim": 8}
    for name in ("layer_types", "block_types", "mlp_layer_types", "attn_layer_indices"):
        if is_set(name) and isinstance(getattr(usual, name), list):
            kinds = list(dict.fromkeys(getattr(usual, name)))  # at least one layer of each kind
            settings[name] = (kinds * 2)[: max(2, len(kinds))]
            for count in ("num_hidden_layers", "n_layer"):
                if count in settings:
                    settings[count] = max(2, len(kinds))
    settings |= _OWN.get(architecture, {})
    config = kind(
        vocab_size=len(byte_tokenizer()), pad_token_id=0, bos_token_id=1, eos_token_id=2, **settings
    )
    torch.manual_seed(3)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
