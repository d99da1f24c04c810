"""`MeanPooling`: a sentence embedder of the plainest kind, run by transformers alone.

Importing sentence-transformers takes longer than importing torch and transformers together: it brings
scikit-learn, SciPy, pandas and peft. The default embedder needs none of them: it is a BERT whose token states
are averaged (Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from icdpo_chains.policies.transformers.loading.load import device_of

__all__ = ["MeanPooling"]

_FLAGS = {
    "pooling_mode_cls_token",
    "pooling_mode_mean_tokens",
    "pooling_mode_max_tokens",
    "pooling_mode_mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens",
    "pooling_mode_lasttoken",
}
_PARTS = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])


class MeanPooling(torch.nn.Module):
    """A transformer and the mean of its token states; the vectors are not normalized.

    Args:
        directory: a model's directory for which `fits` is true.
        device: the device to compute on; by default the first GPU, or the CPU.
    """

    def __init__(self, directory: str | Path, device: str | None = None) -> None:
        from transformers import AutoModel, AutoTokenizer

        super().__init__()
        # Said each time: otherwise transformers asks at the terminal whether to run the code of a directory.
        self.tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
        self.model = AutoModel.from_pretrained(
            directory, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        ).eval()
        self.limit = _read(Path(directory) / "sentence_bert_config.json")["max_seq_length"]
        self.to(device or device_of(None))

    @classmethod
    def fits(cls, directory: str | Path) -> bool:
        """Whether a directory has an embedder of this kind: mean pooling, without prompts and options."""
        place = Path(directory)
        try:
            parts = _read(place / "modules.json")
            pooling = _read(place / parts[1]["path"] / "config.json")
            limits = _read(place / "sentence_bert_config.json")
            further = _read(place / "config_sentence_transformers.json")
        except (OSError, ValueError, LookupError, TypeError):
            return False
        kinds = [part["type"].rsplit(".", 1)[-1] for part in parts]
        modes = {name for name, on in pooling.items() if name.startswith("pooling_mode_") and on is True}
        return (
            kinds in _PARTS
            and parts[0]["path"] == ""
            and modes == {"pooling_mode_mean_tokens"}
            and pooling.keys() <= {"word_embedding_dimension", *_FLAGS}
            and limits.keys() <= {"max_seq_length", "do_lower_case"}
            and isinstance(limits.get("max_seq_length"), int)
            and not limits.get("do_lower_case")
            and further.keys() <= {"__version__"}
            and (place / "model.safetensors").exists()
        )

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    def encode(
        self, texts: Sequence[str], *, batch_size: int, show_progress_bar: bool = False
    ) -> NDArray[np.float32]:
        """Returns float32 [len(texts), dimension]; named and called as in sentence-transformers.

        Texts of similar lengths share a batch. There is no progress bar.
        """
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        vectors = np.empty((len(texts), self.model.config.hidden_size), dtype=np.float32)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            vectors[rows] = self._batch([texts[i] for i in rows])
        return vectors

    def _batch(self, texts: list[str]) -> NDArray[np.float32]:
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.limit, return_tensors="pt"
        ).to(self.device)
        with torch.inference_mode():
            states = self.model(**tokens).last_hidden_state.float()
            mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return np.asarray(mean.cpu().numpy(), dtype=np.float32)


def _read(file: Path) -> Any:
    return json.loads(file.read_bytes())
