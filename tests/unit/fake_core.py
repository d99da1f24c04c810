"""An ICDPO without weights, which the tests of both integrations answer with."""

from __future__ import annotations

from typing import Any

from icdpo_chains import ICDPO, Demonstration, FakePolicy, FixedDemonstrations, SamplingParams

KIND = "I am sorry to hear that. Would you like to talk about it?"
RUDE = "Whatever. That is your own fault, deal with it."
DEMONSTRATIONS = [
    Demonstration("I failed my exam.", "I am sorry to hear that. Would you like a hand?", "Your own fault."),
    Demonstration(
        "My cat is ill.", "I am sorry. Would you like to talk about her?", "Whatever, deal with it."
    ),
    Demonstration(
        "Where are my keys?", "I would be glad to help you look for them.", "Look for them yourself."
    ),
]


def make_core(responses: Any = (RUDE, KIND), **options: Any) -> ICDPO:
    """An ICDPO on a fake policy; with no responses the policy samples by chance."""
    policy = FakePolicy(
        responses, tools=options.pop("tools", False), max_context=options.pop("policy_context", None)
    )
    retriever = options.pop("retriever", FixedDemonstrations(DEMONSTRATIONS, k=2))
    options.setdefault("sampling", SamplingParams(max_new_tokens=300))
    return ICDPO(policy, retriever, **{"n": 2, **options})
