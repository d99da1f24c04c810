"""`snippets`: the settings of the page as code: Python, LangChain, LlamaIndex, and a command line."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from icdpo_chains.config import ICDPOConfig
from icdpo_chains.foundation.jsonl import json_safe
from icdpo_chains.framework_settings import ICDPOSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KINDS", "snippet"]

KINDS = ("Python", "LangChain", "LlamaIndex", "Command line")

_ONLY_IN_FILES = (
    "revision",
    "retriever",
    "pool",
    "instructions",
    "note",
    "top_k",
    "repetition_penalty",
    "stop",
)
"""The settings for which the command line has no option."""


def snippet(kind: str, config: ICDPOConfig, question: str) -> str:
    """Returns code that asks a question with settings.

    Args:
        kind: One of `KINDS`.
        config: The settings.
        question: The question.
    """
    changed = _changed(config)
    if kind == "Command line":
        return _command_line(config, changed, question)
    if kind == "Python":
        return (
            f"{_imports('ICDPO', changed)}\n\n"
            f"icdpo = {_built(changed)}\n"
            f"result = icdpo.generate({question!r})\n"
            "print(result.text)\n"
        )
    package, name, call = (
        ("langchain_icdpo", "ChatICDPO", f"invoke({question!r}).text")
        if kind == "LangChain"
        else ("llama_index_icdpo", "ICDPOLLM", f"complete({question!r}).text")
    )
    if changed.keys() <= ICDPOSettings.model_fields.keys():
        return f"from {package} import {name}\n\nmodel = {name}({_arguments(changed)})\nprint(model.{call})\n"
    return (
        f"{_imports('ICDPO', changed)}\n"
        f"from {package} import {name}\n\n"
        f"model = {name}(icdpo={_built(changed)})\n"
        f"print(model.{call})\n"
    )


def _changed(config: ICDPOConfig) -> dict[str, Any]:
    """Returns the settings that differ from the defaults, those of sampling by their own names."""
    default = ICDPOConfig()
    changed = {
        name: getattr(config, name)
        for name in ICDPOConfig.model_fields
        if name not in ("sampling", "note") and getattr(config, name) != getattr(default, name)
    }
    changed |= {
        name: value
        for name, value in config.sampling.model_dump().items()
        if value != getattr(default.sampling, name)
    }
    if "instructions" in changed:
        changed["instructions"] = config.instructions.model_dump()
    return changed


def _imports(first: str, changed: Mapping[str, Any]) -> str:
    return f"from icdpo_chains import {first}" + (", ICDPOConfig" if changed else "")


def _built(changed: Mapping[str, Any]) -> str:
    if not changed:
        return "ICDPO.from_defaults()"
    return f"ICDPO.from_config(ICDPOConfig().changed({_literal(changed)}))"


def _literal(changed: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{name!r}: {value!r}" for name, value in changed.items()) + "}"


def _arguments(changed: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in changed.items())


def _command_line(config: ICDPOConfig, changed: Mapping[str, Any], question: str) -> str:
    # A question that begins with a dash is no option.
    asked = f"-- {shlex.quote(question)}" if question.startswith("-") else shlex.quote(question)
    if any(name in changed for name in _ONLY_IN_FILES):
        fields = json.dumps(json_safe(config.model_dump(mode="json", exclude_defaults=True)), indent=2)
        return f"cat > settings.json <<'END'\n{fields}\nEND\nicdpo ask --config settings.json {asked}\n"
    options = [f"--{name.replace('_', '-')} {shlex.quote(_option(value))}" for name, value in changed.items()]
    return " ".join(["icdpo ask", *options, asked]) + "\n"


def _option(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)
