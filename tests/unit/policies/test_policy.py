"""Each parameter of sampling changes the samples of each policy, or the policy refuses the parameter."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

import pytest

from icdpo_chains import FakePolicy, Policy, SamplingParams
from icdpo_chains.policies.decoding import decode
from icdpo_chains.policies.device_choice import DeviceTokenChooser
from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.policy import sampled
from icdpo_chains.policies.sampling import Sample, SampleRequest
from icdpo_chains.policies.vllm.policy import VLLMPolicy
from icdpo_chains.reasoning.tags import THINK
from icdpo_chains.reasoning.thoughts import ThoughtReader

from .conftest import tiny_policy
from .vllm.fake_vllm import FakeVLLM

OPENED = ThoughtReader(opened=THINK)
CONTEXT = "I think of cats. <think>\nI think, and think, and think of cats.<|im_end|> I think"
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "max_new_tokens": ({}, {"max_new_tokens": 3}),
    "min_new_tokens": ({}, {"min_new_tokens": 24}),
    "temperature": ({}, {"temperature": 0.01}),
    "top_p": ({}, {"top_p": 0.05}),
    "top_k": ({}, {"top_k": 1}),
    "repetition_penalty": ({}, {"repetition_penalty": 50.0}),
    "stop": ({}, {"stop": ("a", "e", "i", "t", " ")}),
    "seed": ({}, {"seed": 6}),
    "decoding": ({}, {"decoding": "guided"}),
    "guidance": ({"decoding": "guided"}, {"guidance": 5.0}),
    "alpha": ({"decoding": "guided", "guidance": 5.0}, {"alpha": 1.0}),
    "max_thinking_tokens": ({"reasoning": OPENED}, {"max_thinking_tokens": 4}),
    "reasoning": ({"stop": ("a", "e", "i", "t", " ")}, {"reasoning": OPENED}),
}
"""For each parameter: parameters, and a change of the one that changes some sample."""

THINKING_TEMPLATE = "{{ '<think>' }}"


def test_each_parameter_has_a_case() -> None:
    assert sorted(CASES) == sorted(field.name for field in fields(SamplingParams))


def in_vllm() -> Policy:
    tokenizer = byte_tokenizer()
    tokenizer = type(tokenizer)(
        tokenizer_object=tokenizer.backend_tokenizer,
        eos_token=tokenizer.eos_token,
        bos_token=tokenizer.bos_token,
        chat_template=THINKING_TEMPLATE,  # the model thinks
    )
    return VLLMPolicy("http://vllm.example:8000/v1", tokenizer=tokenizer, retry_for=0, transport=FakeVLLM())


BUILDERS: dict[str, Any] = {
    "fake": FakePolicy,
    "on a device": FakePolicy,
    "transformers": lambda: tiny_policy("llama"),
    "vllm": in_vllm,
}


@cache
def policy_of(kind: str) -> Policy:
    policy: Policy = BUILDERS[kind]()
    return policy


def samples(policy: Policy, parameters: dict[str, Any]) -> list[Sample] | str:
    sampling = SamplingParams(**{"max_new_tokens": 24, "top_p": 1.0, "seed": 5, **parameters})
    context = policy.tokenizer(CONTEXT).input_ids
    try:
        request = SampleRequest(context, 4, sampling, contrast=context[: len(context) // 2])
        return sampled(policy, [request])[0]
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", BUILDERS)
def test_each_parameter_is_used_or_refused(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "on a device":
        monkeypatch.setitem(decode.__kwdefaults__, "chooser", DeviceTokenChooser)  # type: ignore[index]
    policy = policy_of(kind)
    given, change = CASES[name]
    without, changed = samples(policy, given), samples(policy, {**given, **change})
    if isinstance(changed, str):
        assert kind == "vllm", changed
        assert any(word in changed for word in (name, "decoding", "max_thinking_tokens"))
    else:
        assert changed != without
