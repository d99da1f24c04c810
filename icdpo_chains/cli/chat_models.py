"""`load_chat_model`: the judge or teacher that the user named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from icdpo_chains.errors import ICDPOError
from icdpo_chains.external_chat_model import ChatModel

__all__ = ["load_chat_model"]


def load_chat_model(spec: str) -> ChatModel:
    """Loads a chat model.

    Args:
        spec: `provider:model`, as LangChain's `init_chat_model` takes it, such as `openai:gpt-5-mini` or
            `ollama:llama3.1:8b`; or a Python object that is a chat model or a function that returns one:
            `file.py:attribute`, or `module:attribute` of an installed module. An existing object takes
            precedence. Modules of the working directory are never found by their name alone.

    Raises:
        ICDPOError: the model can't be loaded: no such object exists, LangChain or the provider's package is
            missing, or the provider refuses (no API key).
    """
    if not all(spec.partition(":")):
        raise ICDPOError(
            f"the chat model {spec!r} is not known: give provider:model, such as openai:gpt-5-mini, or "
            "file.py:attribute"
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
    if not attribute.isidentifier():
        return None
    if module.endswith(".py"):
        return getattr(_module_of(Path(module)), attribute, None)
    if not all(part.isidentifier() for part in module.split(".")):
        return None
    # A file of the working directory, `ollama.py` say, must not take the place of a provider.
    here, sys.path = sys.path, [entry for entry in sys.path if entry]
    try:
        known = find_spec(module) is not None
        return getattr(import_module(module), attribute, None) if known else None
    except ModuleNotFoundError as error:
        if error.name and module.startswith(error.name):  # its parent package does not exist
            return None
        raise
    finally:
        sys.path = here


def _module_of(file: Path) -> ModuleType:
    spec = spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ICDPOError(f"there is no Python file {str(file)!r}: check the path")
    loaded = sys.modules.get(file.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(file.absolute()):
        return loaded
    module = module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


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
