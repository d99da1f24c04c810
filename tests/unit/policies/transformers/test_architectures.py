"""Each architecture gives the numbers of one pass without a cache, or is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from icdpo_chains.errors import PolicyError
from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.sampling import SamplingParams
from icdpo_chains.policies.transformers.policy import TransformersPolicy
from icdpo_chains.policies.transformers.unshared_branches import CopiedBranches, UncachedBranches

from .architectures import OLDER, tiny_model

PAGE = Path(__file__).parents[4] / "docs/guides/models.md"
KINDS = {"shared": None, "copied": CopiedBranches, "read again": UncachedBranches, "refused": None}
FAST = [
    "bamba",
    "bert",
    "bloom",
    "deepseek_v3",
    "falcon_mamba",
    "gpt_oss",
    "jamba",
    "mamba",
    "mamba2",
    "minimax",
    "mixtral",
    "qwen3_moe",
    "qwen3_next",
    "recurrent_gemma",
    "rwkv",
]
CONTEXT = [(7 * i) % 200 + 5 for i in range(40)]
CONTINUATIONS = [[10, 20, 30], [5], [], [40, 50, 60, 70, 80, 90, 100]]


def table() -> dict[str, str]:
    """The architectures of the table in the docs, with the kind of each."""
    rows = re.findall(
        r"^\| (shared|copied|read again|refused) \|[^|]*\| (.*) \|$", PAGE.read_text("utf-8"), re.M
    )
    return {name: kind for kind, names in rows for name in names.replace("`", "").split(", ")}


def naive(model: Any, context: list[int], continuation: list[int]) -> list[float]:
    if not continuation:
        return []
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*context, *continuation]]), use_cache=False).logits[0]
    logprobs = logits.float().log_softmax(-1)
    return [float(logprobs[len(context) - 1 + i, token]) for i, token in enumerate(continuation)]


def check(architecture: str) -> None:
    kind = table()[architecture]
    model = tiny_model(architecture)
    policy = TransformersPolicy(model, byte_tokenizer(), architecture)
    if kind == "refused":
        with pytest.raises(PolicyError, match=f"^{type(model).__name__} "):
            policy.logprobs(CONTEXT, CONTINUATIONS)
        return
    if OLDER:
        try:
            naive(model, CONTEXT, [1])
        except ValueError as error:
            pytest.skip(f"transformers does not compute it: {error}")
    for found, continuation in zip(policy.logprobs(CONTEXT, CONTINUATIONS), CONTINUATIONS, strict=True):
        assert found == pytest.approx(naive(model, CONTEXT, continuation), abs=2e-4)
    (sample,) = policy.sample(CONTEXT, 1, SamplingParams(max_new_tokens=6, seed=1))
    assert sample.logprobs == pytest.approx(naive(model, CONTEXT, list(sample.token_ids)), abs=1e-3)
    if OLDER:  # the numbers are the same; the table has the kinds of today
        return
    assert policy._engine._shares is (kind == "shared")
    if kind != "shared":
        assert policy._engine._unshared is KINDS[kind]


@pytest.mark.parametrize("architecture", FAST)
def test_the_numbers_are_those_of_one_pass(architecture: str) -> None:
    check(architecture)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", sorted(set(table()) - set(FAST)))
def test_the_numbers_of_every_architecture_are_those_of_one_pass(architecture: str) -> None:
    check(architecture)


def test_rows_that_are_read_again_are_cut_into_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icdpo_chains.policies.transformers.unshared_branches._MOST_LOGITS", 1)
    check("mamba")


def test_a_batch_of_a_model_without_a_cache_equals_single_calls() -> None:
    policy = TransformersPolicy(tiny_model("mamba"), byte_tokenizer(), "mamba")
    sampling = SamplingParams(max_new_tokens=5, seed=2)
    several = policy.sample(CONTEXT, 4, sampling)
    assert [sample.token_ids for sample in policy.sample(CONTEXT, 2, sampling)] == [
        sample.token_ids for sample in several[:2]
    ]
    scored = policy.logprobs(CONTEXT, [sample.token_ids for sample in several])
    for sample, logprobs in zip(several, scored, strict=True):
        assert sample.logprobs == pytest.approx(logprobs, abs=1e-4)
