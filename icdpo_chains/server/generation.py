"""Converts a request's parameters to options of `ICDPO.generate`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from icdpo_chains.policies.sampling import SamplingParams, check_finalists
from icdpo_chains.server.errors import APIError
from icdpo_chains.server.protocol.requests import Extension, GenerationRequest
from icdpo_chains.server.service import Service

__all__ = ["generation_options"]


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
