"""A stream of a real engine: text as it is sampled, also where the engine has to start anew."""

import itertools
import threading
from dataclasses import replace
from typing import Any

import pytest
import torch

from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.sampling import SampleRequest, SamplingParams
from icdpo_chains.policies.token_stream import TokenStream
from icdpo_chains.policies.transformers.attention import UnsupportedAttentionError
from icdpo_chains.policies.transformers.branches import SharedBranches
from icdpo_chains.policies.transformers.policy import TransformersPolicy

from ..conftest import tiny_policy

CONTEXT = byte_tokenizer()("Does it say one thing twice? ").input_ids
CONTRAST = byte_tokenizer()("Say something rude now: ").input_ids
SAMPLING = SamplingParams(max_new_tokens=24, seed=6, min_new_tokens=24)


@pytest.mark.parametrize("decoding", ["sample", "guided"])
def test_it_is_told_each_token_and_changes_nothing(llama: TransformersPolicy, decoding: Any) -> None:
    request = SampleRequest(CONTEXT, 1, replace(SAMPLING, decoding=decoding), contrast=CONTRAST)
    (plain,) = llama.sample_batch([request])
    texts: list[str] = []
    stream = TokenStream(texts.append)
    other = SampleRequest(CONTEXT[:5], 3, SAMPLING)
    streamed, _ = llama.sample_batch([replace(request, stream=stream), other])
    assert [sample.token_ids for sample in streamed] == [sample.token_ids for sample in plain]
    assert tuple(stream.token_ids) == plain[0].token_ids
    assert len(texts) == 24
    assert plain[0].text.startswith(texts[-1])


def test_a_new_start_keeps_the_tokens_that_were_told(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy("llama")
    policy.sample([1], 1, SamplingParams(max_new_tokens=1))  # tries whether prompts can be shared
    read, steps = SharedBranches.read, 0

    def broken(self: Any, ids: torch.Tensor) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == 9:
            raise UnsupportedAttentionError("a window")
        # Other logits than the ones after the new start.
        return read(self, ids).flip(-1)

    monkeypatch.setattr(SharedBranches, "read", broken)
    texts: list[str] = []
    stream = TokenStream(texts.append)
    ((sample,),) = policy.sample_batch([SampleRequest(CONTEXT, 1, SAMPLING, stream=stream)])
    assert steps == 9
    assert tuple(stream.token_ids) == sample.token_ids
    assert len(texts) == 24
    assert all(later.startswith(text) for text, later in itertools.pairwise(texts))
    assert sample.text.startswith(texts[-1])
    (expected,) = policy.logprobs(CONTEXT, [sample.token_ids])
    assert sample.logprobs == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("decoding", ["sample", "guided"])
def test_a_reader_that_leaves_stops_its_row_and_no_other(decoding: Any) -> None:
    policy = tiny_policy("llama")
    sampling = SamplingParams(max_new_tokens=150, min_new_tokens=150, seed=6, decoding=decoding)
    other = SampleRequest(
        CONTEXT, 2, replace(sampling, max_new_tokens=40, min_new_tokens=40), contrast=CONTRAST
    )
    (alone,) = policy.sample_batch([other])
    left = threading.Event()
    steps = 0

    def leave(text: str) -> None:
        nonlocal steps
        steps += 1
        if steps == 5:
            left.set()

    asked = SampleRequest(CONTEXT, 1, sampling, contrast=CONTRAST, stream=TokenStream(leave), cancelled=left)
    ((gone,), kept) = policy._engine.sample([asked, other], policy.eos_token_ids, policy.tokenizer)
    assert len(gone.token_ids) == steps == 5
    assert [sample.token_ids for sample in kept] == [sample.token_ids for sample in alone]
