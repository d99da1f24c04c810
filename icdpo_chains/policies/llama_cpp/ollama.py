"""`ollama_gguf`: finds the GGUF file of a model that Ollama has downloaded; never writes there."""

from __future__ import annotations

import json
import re
from pathlib import Path

from icdpo_chains.errors import PolicyError
from icdpo_chains.foundation import environment

__all__ = ["ollama_gguf"]

_WEIGHTS = "application/vnd.ollama.image.model"
_ADAPTER = "application/vnd.ollama.image.adapter"
_OWN_HOST = re.compile(r"registry\.[\w.-]+/")
"""The host of Ollama's own library, which Ollama leaves out of the names that it shows."""
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_PLACES = ("~/.ollama/models", "/usr/share/ollama/.ollama/models", "/var/lib/ollama/models")
_MOST_LISTED = 30


def ollama_gguf(name: str) -> Path:
    """Returns the file of a model.

    Args:
        name: the model's name in Ollama: `qwen2.5:7b`, `user/model:tag`, `hf.co/user/model:tag`; the default
            tag is `latest`.

    Raises:
        PolicyError: Ollama has no such model (the message lists its models), or it has an adapter.
    """
    found = {known: manifest for place in _places() for known, manifest in _manifests(place)}
    wanted = name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"
    manifest = found.get(_shown(wanted))
    if manifest is None:
        listed = ", ".join(sorted(found)[:_MOST_LISTED]) or "no model at all"
        raise PolicyError(
            f"Ollama has no model {name!r} here; it has {listed}. Run `ollama pull {name}`, or set "
            "OLLAMA_MODELS to the directory of its models"
        )
    return _weights(manifest, name)


def _places() -> list[Path]:
    own = environment.ollama_models()
    return [own] if own else [Path(place).expanduser() for place in _PLACES]


def _manifests(place: Path) -> list[tuple[str, Path]]:
    """Returns the names and manifests in a directory of models: manifests/HOST/NAMESPACE/MODEL/TAG."""
    found = []
    try:
        for path in sorted((place / "manifests").glob("*/*/*/*")):
            host, namespace, model, tag = path.parts[-4:]
            found.append((_shown(f"{host}/{namespace}/{model}:{tag}"), path))
    except OSError:  # a directory of another user
        return found
    return found


def _shown(name: str) -> str:
    own = _OWN_HOST.match(name)
    return name[own.end() if own else 0 :].removeprefix("library/")


def _weights(manifest: Path, name: str) -> Path:
    try:
        layers = json.loads(manifest.read_text("utf-8"))["layers"]
        digests = [layer["digest"] for layer in layers if layer["mediaType"] == _WEIGHTS]
        adapters = [layer["digest"] for layer in layers if layer["mediaType"] == _ADAPTER]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PolicyError(
            f"{manifest} is not a manifest of Ollama ({error}): run `ollama pull {name}`"
        ) from error
    if adapters:
        raise PolicyError(
            f"the model {name} of Ollama has a LoRA adapter, which the engine llama.cpp does not apply: "
            "merge the adapter into the weights, or give the model without it"
        )
    match = _DIGEST.fullmatch(str(digests[0])) if digests else None
    if match is None:
        raise PolicyError(f"{manifest} names no weights: run `ollama pull {name}`")
    file = manifest.parents[4] / "blobs" / f"sha256-{match[1]}"
    if not file.is_file():
        raise PolicyError(f"the weights of {name} are missing in {file.parent}: run `ollama pull {name}`")
    return file
