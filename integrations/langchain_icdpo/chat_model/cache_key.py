"""The cache key of an answer: everything besides the prompt that the answer depends on."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.policies.policy import Policy

__all__ = ["cache_key"]

_tokens: WeakKeyDictionary[Any, str] = WeakKeyDictionary()

_FOLLOWS_THE_STORE = ("_snapshot", "_known", "_lock")


def cache_key(icdpo: ICDPO) -> str:
    """Returns a string that changes with the model, the scorer, the wording and the demonstrations.

    A custom retriever has a new key in each process unless its attribute `fingerprint` identifies its
    results. A custom policy or format always has a new key.
    """
    parts = {
        "policy": _policy(icdpo.policy),
        "retriever": _described(icdpo.retriever),
        "scorer": repr(icdpo.scorer),
        "n": icdpo.n,
        "k": icdpo.k,
        "sampling": repr(icdpo.sampling),
        "instructions": repr(icdpo.instructions),
        "format": _format(icdpo),
        "max_context": icdpo.max_context,
        "finalists": icdpo.finalists,
        "reasoning_tags": icdpo.reasoning_tags,
    }
    return repr(sorted(parts.items()))


def _policy(policy: Policy) -> str:
    model = getattr(policy, "model", None)
    if not _ours(policy) or model is None:
        return f"{policy.name} {_token(policy)}"
    revision = getattr(getattr(model, "config", None), "_commit_hash", None)
    return f"{policy.name} {revision} {getattr(model, 'dtype', None)}"


def _format(icdpo: ICDPO) -> str:
    if not _ours(icdpo.format):
        return _token(icdpo.format)
    wording = getattr(icdpo.format, "_template", None) or icdpo.policy.tokenizer.chat_template
    options = getattr(icdpo.format, "options", None)
    digest = hashlib.sha256(repr((wording, options)).encode()).hexdigest()
    return f"{type(icdpo.format).__name__} {digest}"


def _described(value: Any) -> str:
    """Describes the contents of a retriever, or of a value within one."""
    if value is None or isinstance(value, (str, int, float)):
        return repr(value)
    if isinstance(value, Demonstration):
        return value.id
    if isinstance(value, Mapping):
        return repr({str(name): _described(item) for name, item in value.items()})
    if isinstance(value, Sequence):
        return repr([_described(item) for item in value])
    fingerprint = getattr(value, "fingerprint", None)
    if isinstance(fingerprint, str):
        return f"{type(value).__qualname__} {getattr(value, 'path', None)} {fingerprint}"
    if not _ours(value):
        return _token(value)
    # Indexes and locks are not settings: the store's fingerprint covers their contents.
    settings = {name: item for name, item in vars(value).items() if name not in _FOLLOWS_THE_STORE}
    return f"{type(value).__qualname__} {_described(settings)}"


def _ours(value: Any) -> bool:
    return type(value).__module__.startswith("icdpo_chains.")


def _token(value: Any) -> str:
    try:
        token = _tokens.setdefault(value, uuid.uuid4().hex)
    except TypeError:  # no weak reference is possible: a new key each time
        token = uuid.uuid4().hex
    return f"{type(value).__qualname__} {token}"
