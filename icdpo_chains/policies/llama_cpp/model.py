"""`GGUFModel`: the weights and the vocabulary of a GGUF file, loaded by llama.cpp."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from icdpo_chains.errors import PolicyError
from icdpo_chains.foundation.concurrency import Owner

__all__ = ["GGUFModel", "free_with", "has_amx", "llama_cpp_library", "reported_errors"]

_log = logging.getLogger(__name__)
_MAGIC = b"GGUF"
_ERROR = 4  # of enum ggml_log_level

_setup = threading.Lock()
_reported = threading.local()
_callback: Any = None  # ctypes frees a callback without a reference


def llama_cpp_library() -> Any:
    """Returns the module `llama_cpp`; the messages of llama.cpp go to the log of this module.

    Raises:
        PolicyError: llama-cpp-python is not installed.
    """
    global _callback
    try:
        import llama_cpp
    except ImportError as error:
        raise PolicyError(
            "the engine llama.cpp needs llama-cpp-python: install it with "
            f'`pip install "icdpo-chains[llama-cpp]"` ({error})'
        ) from error
    with _setup:
        if _callback is None:
            _callback = llama_cpp.llama_log_callback(_take_message)
            llama_cpp.llama_log_set(_callback, ctypes.c_void_p(0))
            llama_cpp.llama_backend_init()
    return llama_cpp


def _take_message(level: int, text: bytes, user_data: ctypes.c_void_p) -> None:
    """Logs a message for developers. Users see those of errors, in the exceptions that follow."""
    message = text.decode("utf-8", "replace").strip()
    if not message:
        return
    if level == _ERROR:
        _reported.errors = [*getattr(_reported, "errors", ()), message][-3:]
    _log.debug("llama.cpp: %s", message)


def reported_errors() -> str:
    """Returns the last errors that llama.cpp has reported in this thread, and forgets them."""
    errors: list[str] = getattr(_reported, "errors", [])
    _reported.errors = []
    return "; ".join(errors).rstrip(".") or "no reason is given"


def free_with(owner: object, free: Callable[..., object], *pointers: Any) -> weakref.finalize[Any, Any]:
    """Returns a finalizer that frees memory of llama.cpp once: when called, or when the owner is garbage.

    Memory is not freed in a forked process, where the threads of llama.cpp do not exist, nor at the end of
    the process, where other threads may still compute.
    """
    process = Owner()

    def release(*given: Any) -> None:
        if not process.is_elsewhere:
            free(*given)

    finalizer = weakref.finalize(owner, release, *pointers)
    finalizer.atexit = False
    return finalizer


class GGUFModel:
    """A GGUF file that llama.cpp has loaded. The weights are mapped into memory, not copied.

    Args:
        path: the file; for a model in several files, the first file.
        n_gpu_layers: the number of layers on the GPU; -1 for all. Has no effect without a GPU.
        repack: let llama.cpp repack the weights for the processor; by default unless it has AMX.

    Attributes:
        path: the file.
        n_ctx_train: the longest context that the model was trained for, in tokens.
        n_vocab: the number of tokens in the vocabulary.
        eog_token_ids: the ids that end an answer.
        chat_template: the template in the file's metadata, if there is one.
        forkable_anywhere: whether a sequence can be cut anywhere. A recurrent model has only the state after
            the last token.

    Raises:
        PolicyError: the file is absent or broken, llama.cpp can't load it, or it is no language model.
    """

    def __init__(self, path: Path, n_gpu_layers: int = -1, repack: bool | None = None) -> None:
        library = llama_cpp_library()
        self.path, self._library = path, library
        _check_magic(path)
        params = library.llama_model_default_params()
        params.n_gpu_layers = n_gpu_layers if n_gpu_layers >= 0 else 2**31 - 1
        params.use_extra_bufts = not has_amx() if repack is None else repack
        reported_errors()  # of an earlier call
        self._handle = library.llama_model_load_from_file(os.fsencode(path), params)
        if not self._handle:
            raise PolicyError(
                f"llama.cpp can't load {path}: {reported_errors()}. Download the file again, or update "
                "llama-cpp-python for a model newer than your version"
            )
        self._free = free_with(self, library.llama_model_free, self._handle)
        self._vocab = library.llama_model_get_vocab(self._handle)
        if fault := self._fault():
            self.close()
            raise PolicyError(f"{path} {fault}: give the file of a language model, such as an instruct model")
        self.n_ctx_train = int(library.llama_model_n_ctx_train(self._handle))
        self.n_vocab = int(library.llama_vocab_n_tokens(self._vocab))
        self.eog_token_ids = self._eog_token_ids()
        template = library.llama_model_chat_template(self._handle, None)
        self.chat_template = template.decode("utf-8", "replace") if template else None
        self.forkable_anywhere = not (
            library.llama_model_is_recurrent(self._handle) or library.llama_model_is_hybrid(self._handle)
        )

    @property
    def handle(self) -> Any:
        """The model's pointer.

        Raises:
            PolicyError: the model is closed.
        """
        if not self._handle:
            raise PolicyError(f"the model {self.path} is closed: load it again")
        return self._handle

    def tokenize(self, text: str) -> list[int]:
        """Returns the ids of a text. Control tokens in it stay text; no token is added."""
        _ = self.handle  # the vocabulary is gone with the model
        raw = text.encode("utf-8")
        room = len(raw) + 8
        ids = (self._library.llama_token * room)()
        count = self._library.llama_tokenize(self._vocab, raw, len(raw), ids, room, False, False)
        return list(ids[: max(0, count)])

    def close(self) -> None:
        """Frees the memory; the model can't be used afterwards."""
        self._handle = None
        self._free()

    def _fault(self) -> str | None:
        """Says why the model continues no text; llama.cpp would end the process at the attempt."""
        library = self._library
        if library.llama_vocab_type(self._vocab) == 0:
            return "has no vocabulary"
        if library.llama_model_has_encoder(self._handle) or not library.llama_model_has_decoder(self._handle):
            return "is a model with an encoder, not one that continues a text"
        if self._metadata(f"{self._metadata('general.architecture')}.attention.causal") == "false":
            return "is a model of both directions, such as one for embeddings, not one that continues a text"
        return None

    def _metadata(self, key: str) -> str | None:
        room = ctypes.create_string_buffer(256)
        length = self._library.llama_model_meta_val_str(self._handle, key.encode(), room, len(room))
        return None if length < 0 else room.value.decode("utf-8", "replace")

    def _eog_token_ids(self) -> frozenset[int]:
        is_end = self._library.llama_vocab_is_eog
        return frozenset(token for token in range(self.n_vocab) if is_end(self._vocab, token))


def has_amx() -> bool:
    """Returns whether the processor has Intel's AMX instructions."""
    if sys.platform == "linux":  # torch may not be imported yet, and the weights need not wait for that
        with contextlib.suppress(OSError):
            return "amx_tile" in Path("/proc/cpuinfo").read_text("ascii", "replace").split()
    import torch

    probe = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(probe and probe())


def _check_magic(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except OSError as error:
        raise PolicyError(f"{path} can't be read: {error.strerror or error}. Give a GGUF file") from error
    if start != _MAGIC:
        raise PolicyError(
            f"{path} is not a GGUF file (it begins with {start!r}, not {_MAGIC!r}): llama.cpp reads only "
            "GGUF files. Give one, or leave engine out to load the model with transformers"
        )
