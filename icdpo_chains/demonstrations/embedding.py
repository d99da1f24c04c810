"""`Embedder`: embeds texts as unit vectors, by sentence-transformers or by a deterministic fake."""

from __future__ import annotations

import hashlib
import re
import struct
import threading
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from icdpo_chains.errors import StoreError
from icdpo_chains.foundation.concurrency import LOADING, Owner

__all__ = ["Embedder", "FakeEmbedder", "SentenceTransformerEmbedder", "embed_checked"]

Vectors = NDArray[np.float32]
_MANY, _BATCH = 32, 64


class Embedder(Protocol):
    """Turns texts into vectors whose cosine measures similarity. Implementations are thread-safe.

    Attributes:
        name: identifies the embedder; a store accepts only the embedder that filled it.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Returns float32 [len(texts), dimension], each row of unit length."""
        ...


class SentenceTransformerEmbedder:
    """A sentence-transformers model, loaded at its first use.

    Large batches, as in an import, are embedded in bfloat16 on hardware with bfloat16 arithmetic; a few
    texts, such as a question, in float32. The cosine between the two results is above 0.999.

    Args:
        name: a packaged model (the default `all-minilm-l6-v2`), a hub name or a directory.
        device: `"cuda"`, `"cpu"`, ...; by default sentence-transformers chooses.
    """

    def __init__(self, name: str | None = None, *, device: str | None = None) -> None:
        from icdpo_chains.packaged_models import catalog

        self.name = name or catalog.DEFAULT_EMBEDDER
        self._device = device
        self._model: Any = None
        self._fast: Any = None
        self._loaded: Owner | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _embedder, (type(self), self.name, self._device)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embeds texts; long texts are truncated at the model's limit (256 tokens for the default).

        If the memory can't hold a batch, the batches become smaller.

        Raises:
            StoreError: the model can't be loaded, was loaded before this process was forked, or finds no
                memory for a single text.
            WeightsError: the packaged model can't be fetched.
        """
        if self._loaded is not None:
            self._loaded.check(f"the embedding model {self.name}", StoreError)
        self.load()
        with self._lock:
            many = len(texts) >= _MANY
            if many and self._fast is None:
                self._fast = _in_bfloat16(self._model)
            model = self._fast if many else self._model
            encoded = self._encoded(model, list(texts), _BATCH if many else 32)
        vectors: Vectors = encoded.astype(np.float32, copy=False)
        # Normalized here: a norm in bfloat16 is off by up to 0.4 %.
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.where(length > 0, length, 1)
        return vectors

    def _encoded(self, model: Any, texts: list[str], size: int) -> Vectors:
        from icdpo_chains.policies.transformers.device_memory import tried

        while size:
            found: Vectors | None = tried(
                lambda: model.encode(texts, batch_size=size, show_progress_bar=False)  # noqa: B023
            )
            if found is not None:
                return found
            size //= 2
        raise StoreError(
            f"the memory of {model.device} can't hold a text for the embedding model {self.name!r}: free "
            "some memory, or embed on the processor, with SentenceTransformerEmbedder(device='cpu')"
        )

    def load(self) -> None:
        """Loads the model, if it is not loaded yet.

        Raises:
            StoreError: the model can't be loaded.
            WeightsError: the packaged model can't be fetched.
        """
        with self._lock:
            if self._model is None:
                with LOADING:
                    self._model, self._loaded = self._load(), Owner()

    def _load(self) -> Any:
        from icdpo_chains.packaged_models import catalog

        source = catalog.resolve(self.name)
        try:
            from icdpo_chains.demonstrations.mean_pooling import MeanPooling

            if MeanPooling.fits(source):
                return MeanPooling(source, self._device)
            from sentence_transformers import SentenceTransformer

            return SentenceTransformer(
                source,
                device=self._device,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True, "dtype": "float32"},
            )
        except (OSError, ValueError, ImportError) as error:
            raise StoreError(
                f"the embedding model {self.name!r} can't be loaded: {error}. Give a directory or a hub name "
                "of a sentence-transformers model with safetensors weights"
            ) from error
        except (RuntimeError, AssertionError) as error:  # an unknown device, or one without a driver
            reason = str(error).split("\n", 1)[0]
            raise StoreError(
                f"the embedding model {self.name!r} can't be loaded on the device "
                f"{self._device or 'default'!r}: {reason:.200}. Use 'cuda', 'mps' or 'cpu'"
            ) from error


def _in_bfloat16(model: Any) -> Any:
    """A copy of the model in bfloat16; the model itself if bfloat16 is not faster, or no memory is left."""
    import copy

    import torch

    from icdpo_chains.policies.transformers.device_memory import tried
    from icdpo_chains.policies.transformers.loading.load import default_dtype

    if default_dtype(torch.device(model.device)) != torch.bfloat16:
        return model
    made = tried(lambda: copy.deepcopy(model).to(torch.bfloat16))
    return model if made is None else made


def _embedder(kind: type[SentenceTransformerEmbedder], name: str, device: str | None) -> Any:
    """Builds a pickled embedder, whose model is loaded at its first use."""
    return kind(name, device=device)


class FakeEmbedder:
    """Hashed bags of words, for tests and benchmarks: texts that share words are near. No weights.

    Args:
        dimension: the length of a vector.
        name: the name that a store records.
    """

    def __init__(self, dimension: int = 64, name: str = "fake-embedder") -> None:
        self.name = name
        self._dimension = dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Returns the unit vectors of the texts' word counts."""
        vectors = np.zeros((len(texts), self._dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()) or [text]:
                # Each word has its own direction: four positions and their signs.
                digest = hashlib.blake2b(word.encode("utf-8"), digest_size=16).digest()
                for number in struct.unpack("<4I", digest):
                    row[(number >> 1) % self._dimension] += 1 if number & 1 else -1
            norm = float(np.linalg.norm(row))
            row[0] += float(norm == 0)
            row /= norm or 1
        return vectors


def embed_checked(embedder: Embedder, texts: Sequence[str]) -> Vectors:
    """Embeds texts and checks the vectors before they are stored or searched.

    Raises:
        StoreError: the result is not one finite nonzero vector for each text.
    """
    returned = embedder.embed(texts)
    try:
        with np.errstate(over="ignore"):  # too large for float32: not finite, see below
            vectors = np.asarray(returned, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"the embedder {embedder.name!r} returned no numbers in equal rows ({error}), and should "
            "have returned one vector for each text"
        ) from error
    if vectors.ndim != 2 or len(vectors) != len(texts) or not vectors.size:
        raise StoreError(
            f"the embedder {embedder.name!r} returned an array of shape {vectors.shape} for {len(texts)} "
            "texts, and should have returned one vector each"
        )
    if not np.isfinite(vectors).all():
        raise StoreError(
            f"the embedder {embedder.name!r} returned numbers that are not finite: load it in float32, or "
            "use another one"
        )
    if not vectors.any(axis=1).all():
        raise StoreError(
            f"the embedder {embedder.name!r} returned a vector of zeros, which has no direction to compare: "
            "use another one"
        )
    return vectors
