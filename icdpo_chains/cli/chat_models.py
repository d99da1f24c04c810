"""`load_chat_model`: the judge or teacher that the user named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from icdpo_chains.errors import ICDPOError
from icdpo_chains.external_chat_model import ChatModel

__all__ = ["load_chat_model"]


def load_chat_model(spec: str) -> ChatModel:
    """Loads a chat model.

    Args:
        spec: `provider:model`, as LangChain's `init_chat_model` takes it, such as `openai:gpt-5-mini` or
            `ollama:llama3.1:8b`; or `module:attribute`, a Python object that is a chat model or a function
            that returns one. The module may be in the working directory. An existing object takes precedence.

    Raises:
        ICDPOError: the model can't be loaded: no such object exists, LangChain or the provider's package is
            missing, or the provider refuses (no API key).
    """
    if not all(spec.partition(":")):
        raise ICDPOError(
            f"the chat model {spec!r} is not known: give provider:model, such as openai:gpt-5-mini, or "
            "module:attribute"
        )
    with _errors_of(spec):
        found = _python_object(spec)
        model = _langchain_model(spec) if found is None else found
        if isinstance(model, type) or (callable(model) and not hasattr(model, "invoke")):
            model = model()
    if not callable(getattr(model, "invoke", None)):
        raise ICDPOError(f"{spec} is a {type(model).__name__}, not a chat model: it has no method `invoke`")
    return model  # type: ignore[no-any-return]


def _python_object(spec: str) -> Any:
    module, _, attribute = spec.partition(":")
    if not attribute.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        return None
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, so that no local module hides an installed one
    try:
        known = find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package does not exist
        known = False
    return getattr(import_module(module), attribute, None) if known else None


def _langchain_model(spec: str) -> Any:
    try:
        chat_models = import_module("langchain.chat_models")
    except ImportError:
        raise ICDPOError(
            f"the chat model {spec} needs LangChain and its package for the provider: "
            f'pip install "icdpo-chains[langchain]" langchain-{spec.partition(":")[0].replace("_", "-")}'
        ) from None
    return chat_models.init_chat_model(spec)


@contextmanager
def _errors_of(spec: str) -> Iterator[None]:
    try:
        yield
    except ICDPOError:
        raise
    except Exception as error:  # raised by any provider's package, or by the user's module
        raise ICDPOError(
            f"the chat model {spec} can't be loaded, neither as a Python object nor by LangChain: "
            f"{type(error).__name__}: {error}"
        ) from error
