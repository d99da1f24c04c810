"""Converts a request's parameters to options of `ICDPO.generate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from icdpo_chains.errors import PromptError
from icdpo_chains.policies.sampling import SamplingParams, check_finalists
from icdpo_chains.prompts.thinking import Thinking
from icdpo_chains.server.errors import APIError
from icdpo_chains.server.protocol.requests import ChatRequest, Effort, Extension, GenerationRequest
from icdpo_chains.server.service import Service

__all__ = ["chat_options", "generation_options"]

_THINKING: Mapping[Effort, Sequence[Thinking]] = {
    "none": (False,),
    "minimal": ("low", True),
    "low": ("low", True),
    "medium": ("medium", True),
    "high": ("high", True),
    "xhigh": ("high", True),
    "max": ("high", True),
}
"""The values of `thinking` for OpenAI's efforts; the first that the chat template has is taken."""


def chat_options(service: Service, body: ChatRequest) -> dict[str, Any]:
    """Returns the options of `ICDPO.generate` for a conversation.

    Raises:
        APIError: see `generation_options`.
    """
    options = generation_options(service, body)
    options["chat_template_kwargs"] = body.chat_template_kwargs
    if options["thinking"] is None and body.reasoning_effort is not None:
        options["thinking"] = _thinking(service, body.reasoning_effort, body.chat_template_kwargs)
    return options


def _thinking(service: Service, effort: Effort, kwargs: Mapping[str, Any] | None) -> Thinking | None:
    """Returns the value that the chat template can carry out; `None` if there is none."""
    for value in _THINKING[effort]:
        try:
            service.icdpo.with_chat_template_kwargs(kwargs, value)
        except PromptError:
            continue
        return value
    return None


def generation_options(service: Service, body: GenerationRequest) -> dict[str, Any]:
    """Returns the options of `ICDPO.generate`.

    Raises:
        APIError: the parameters exceed a limit or contradict each other.
    """
    extension = body.icdpo or Extension()
    returned = body.n or 1
    service.check_candidates(returned, "n")
    candidates = extension.n or max(service.icdpo.n, returned)
    service.check_candidates(candidates, "icdpo.n")
    service.check_candidates(extension.finalists, "icdpo.finalists")
    service.check_demonstrations(extension.k, "icdpo.k")
    if candidates < returned:
        raise APIError(
            400,
            f"n is {returned}, and only {candidates} candidates are sampled: raise icdpo.n",
            param="icdpo.n",
        )
    finalists = extension.finalists
    if finalists is not None and finalists < returned:
        raise APIError(
            400,
            f"n is {returned}, and only {finalists} candidates are sampled to their end: raise "
            "icdpo.finalists",
            param="icdpo.finalists",
        )
    if finalists is None and service.icdpo.finalists is not None:
        finalists = max(service.icdpo.finalists, returned)
    sampling = _sampling(service, body)
    try:
        check_finalists(finalists, sampling)
    except ValueError as error:
        raise APIError(400, str(error), param="icdpo.decoding") from None
    return {
        "n": candidates,
        "k": extension.k,
        "sampling": sampling,
        "seed": body.seed,
        "exclude": extension.exclude,
        "finalists": finalists,
        "thinking": extension.thinking,
    }


def _sampling(service: Service, body: GenerationRequest) -> SamplingParams:
    own, longest = service.icdpo.sampling, body.longest
    most = service.limits.max_tokens
    if longest is not None and longest > most:
        raise APIError(
            400,
            f"max_tokens is {longest}, and the limit of this server is {most}: ask for fewer",
            param="max_tokens",
        )
    changes: dict[str, Any] = {
        "max_new_tokens": longest,
        "min_new_tokens": body.min_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "repetition_penalty": body.repetition_penalty,
        "stop": body.stop,
    }
    extension = body.icdpo or Extension()
    own_names = ("decoding", "guidance", "alpha", "max_thinking_tokens")
    changes |= {name: getattr(extension, name) for name in own_names}
    changes = {name: value for name, value in changes.items() if value is not None}
    if body.top_k is not None:
        changes["top_k"] = body.top_k if body.top_k > 0 else None
    if longest is not None:
        changes.setdefault("min_new_tokens", min(own.min_new_tokens, longest))
    try:
        return replace(own, **changes)
    except (TypeError, ValueError) as error:
        raise APIError(400, str(error)) from None
