"""`Toxicity`: how likely a text is toxic, by a packaged classifier or a classifier of Hugging Face."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from icdpo_chains.errors import ICDPOError, PolicyError

if TYPE_CHECKING:
    import torch

__all__ = ["HateSonar", "Toxicity", "ToxicityClassifier"]

_BATCH = 32


class Toxicity(Protocol):
    """Tells how likely texts are toxic.

    Attributes:
        name: names the classifier in results.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    def scores(self, texts: Sequence[str]) -> list[float]:
        """Returns a number from 0 to 1 for each text: the higher, the more likely toxic."""
        ...


class HateSonar:
    """The classifier of the package `hatesonar` (MIT), whose weights are in the package.

    A logistic regression on single words, fitted to 25,000 English tweets with the labels hate speech,
    offensive language and neither (Davidson et al. 2017, arXiv 1703.04009). The score is the probability of
    the first two labels together. The classifier weighs words without their context: use it to compare
    systems, not to judge a single text. A text without a telling word scores about 0.3: compare means, or the
    shares above 0.5.

    Attributes:
        name: `"hatesonar"` and its version.

    Raises:
        ICDPOError: the package is not installed.
    """

    def __init__(self) -> None:
        try:
            onnx, runtime = import_module("onnx"), import_module("onnxruntime")
            weights = import_module("hatesonar.api").DEFAULT_MODEL_FILE
        except ImportError as error:
            raise ICDPOError(
                f'toxicity needs the package hatesonar ({error}): pip install "icdpo-chains[eval]"'
            ) from None
        self.name = f"hatesonar {version('hatesonar')}"
        # The model's locale, en_US.UTF-8, is missing in most containers. Only lower case needs a locale, and
        # the classifier's words are ASCII: the locale C is enough.
        model = onnx.load(weights)
        for node in model.graph.node:
            if node.op_type == "StringNormalizer":
                node.attribute.append(onnx.helper.make_attribute("locale", "C"))
        self._session = runtime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )

    def scores(self, texts: Sequence[str]) -> list[float]:
        """Returns the probability of hate speech or offensive language, for each text."""
        import numpy as np

        if not texts:
            return []
        # Half a surrogate pair has no UTF-8 form, and is not a word.
        plain = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        _, classes = self._session.run(None, {"text": np.array(plain, dtype=object)})
        return [float(found[0] + found[1]) for found in classes]


class ToxicityClassifier:
    """A Hugging Face text classifier, such as `unitary/toxic-bert`.

    Args:
        model: the classifier.
        tokenizer: its tokenizer.
        label: the class; its probability is the score.
        name: names the classifier in results.

    Raises:
        PolicyError: the model has no class of this name.
    """

    def __init__(self, model: Any, tokenizer: Any, label: str = "toxic", *, name: str = "toxicity") -> None:
        known = {str(text).casefold(): int(i) for i, text in model.config.id2label.items()}
        if label.casefold() not in known:
            raise PolicyError(f"{name} has no class {label!r}; its classes are: {', '.join(known)}")
        self.name = name
        self._column = known[label.casefold()]
        self._model = model
        self._tokenizer = tokenizer

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        label: str = "toxic",
        *,
        device: str | torch.device | None = None,
    ) -> ToxicityClassifier:
        """Loads a classifier from safetensors.

        Args:
            name_or_path: a name on the Hugging Face hub, or a directory.
            label: the class; its probability is the score.
            device: by default the CPU.

        Raises:
            PolicyError: the classifier can't be loaded, or has no class of this name.
        """
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        from icdpo_chains.policies.transformers.loading.load import device_of, moved

        where, source = device_of(device or "cpu"), os.path.expanduser(name_or_path)
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            model = AutoModelForSequenceClassification.from_pretrained(
                source, trust_remote_code=False, use_safetensors=True
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise PolicyError(
                f"the classifier {source!r} can't be loaded: {str(error).rstrip('.')}. Give a directory or a "
                "hub name that contains a text classifier in safetensors"
            ) from error
        return cls(moved(model, where, source).eval(), tokenizer, label, name=source)

    def scores(self, texts: Sequence[str]) -> list[float]:
        """Returns the probability of the class for each text; a long text is cut to the model's limit."""
        import torch

        result: list[float] = []
        for start in range(0, len(texts), _BATCH):
            encoded = self._tokenizer(
                list(texts[start : start + _BATCH]),
                truncation=True,
                max_length=self._longest,
                padding=True,
                return_tensors="pt",
            ).to(self._model.device)
            with torch.inference_mode():
                logits = self._model(**encoded).logits.float()
            result += self._probabilities(logits)[:, self._column].tolist()
        return result

    @property
    def _longest(self) -> int:
        # 10**30 stands for no limit in tokenizers.
        positions = getattr(self._model.config, "max_position_embeddings", None) or 512
        return int(min(positions, self._tokenizer.model_max_length))

    def _probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Returns the probability of each class; they add up to 1 unless classes are independent."""
        several = self._model.config.problem_type == "multi_label_classification"
        return logits.sigmoid() if several or logits.shape[-1] == 1 else logits.softmax(dim=-1)
