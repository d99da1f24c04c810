"""`load_chat_model`: the judge or teacher that the user named."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
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
            `ollama:llama3.1:8b`; or a Python object that is a chat model, or a function without arguments
            that returns one: `file.py:attribute`, or `module:attribute` of an installed module. An existing
            object takes precedence. Modules of the working directory are never found by their name alone.

    Raises:
        ICDPOError: the model can't be loaded: no such object exists, a function needs an argument, LangChain
            or the provider's package is missing, the provider refuses (no API key), or the model is a chain
            that writes the conversation into a template.
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
            _check_needs_nothing(model, spec)
            model = model()
    if not callable(getattr(model, "invoke", None)):
        raise ICDPOError(f"{spec} is a {type(model).__name__}, not a chat model: it has no method `invoke`")
    _check_begins_without_template(model, spec)
    return model  # type: ignore[no-any-return]


def _check_needs_nothing(function: Callable[..., Any], spec: str) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions in C have none
        return
    try:
        signature.bind()
    except TypeError:
        raise ICDPOError(
            f"{spec} needs arguments {signature}: give a function without arguments that returns a chat "
            "model. langchain_core's RunnableLambda makes a chat model of a function that takes the "
            "conversation, a list of pairs (role, text)"
        ) from None


def _check_begins_without_template(model: Any, spec: str) -> None:
    """LangChain fills a template's only variable with any input: the list of turns would become its text."""
    first = getattr(model, "first", model)
    variables = getattr(first, "input_variables", None) or ()
    # `input_types` names the places of whole messages.
    texts = sorted(set(variables) - set(getattr(first, "input_types", None) or ()))
    if texts:
        values = f"RunnableLambda(lambda turns: {{{texts[0]!r}: turns[-1][1]}})"
        raise ICDPOError(
            f"{spec} begins with a template of {{{texts[0]}}}, and is given a conversation, a list of pairs "
            "(role, text): begin the chain with the chat model, with a MessagesPlaceholder, or with a "
            f"function that makes the values, such as {values}"
        )


def _python_object(spec: str) -> Any:
    module, _, attribute = spec.partition(":")
    if not attribute.isidentifier():
        return None
    if module.endswith(".py"):
        loaded = _module_of(Path(module))
        if not hasattr(loaded, attribute):
            raise ICDPOError(f"the file {module} has no {attribute!r}: define it, or name another")
        return getattr(loaded, attribute)
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
