"""`ICDPOConfig`: the settings of an `ICDPO`. `icdpo tune` writes a file of them; every way in reads it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError, model_validator
from typing_extensions import Self

from icdpo_chains.config_parts import STRICT, InstructionsConfig, SamplingConfig, Tags
from icdpo_chains.demonstrations.open_store import is_server, open_store
from icdpo_chains.demonstrations.retriever import MAX_DEMONSTRATIONS
from icdpo_chains.demonstrations.retrievers.catalog import FIGURES, RETRIEVERS, RetrieverName
from icdpo_chains.demonstrations.retrievers.threshold import Substitute, Threshold
from icdpo_chains.demonstrations.retrievers.two_sided import TwoSidedRetriever
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.foundation import environment
from icdpo_chains.foundation.atomic_file import atomic_file
from icdpo_chains.foundation.jsonl import json_safe
from icdpo_chains.foundation.url_credentials import has_credentials
from icdpo_chains.foundation.validation import check_count, faults_of
from icdpo_chains.policies.engines import EngineName, check_engine, load_policy
from icdpo_chains.policies.sampling import MAX_CANDIDATES, check_finalists
from icdpo_chains.policies.transformers.loading.weight_options import Quantization
from icdpo_chains.prompts.contexts import Instructions
from icdpo_chains.prompts.thinking import Thinking
from icdpo_chains.scoring import Against, Aggregate, InstantScorer

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.retriever import Retriever
    from icdpo_chains.demonstrations.store import DemonstrationStore
    from icdpo_chains.policies.policy import Policy

__all__ = ["ICDPOConfig", "InstructionsConfig", "SamplingConfig"]


# The settings of the weights in transformers.
_WEIGHTS = ("dtype", "device", "device_map", "max_memory", "quantization", "attn_implementation", "adapter")


class ICDPOConfig(BaseModel):
    """The settings of an `ICDPO`. A file of them is JSON and may leave out any setting.

    Attributes:
        model: the name or path of a model; the default is `ICDPO_MODEL`, or else the small packaged model.
        revision: the model's branch, tag or commit on the hub.
        dtype: the dtype of the weights, such as `"float32"`.
        device: the device of the model, such as `"cuda"`.
        device_map: the devices of the model's layers, such as `"auto"`, in place of `device`.
        max_memory: with a device map, the maximum memory of each device, such as `{"0": "20GiB"}`.
        quantization: `"4bit"` or `"8bit"`, by bitsandbytes.
        attn_implementation: the attention that reads prompts, such as `"eager"`.
        adapter: the directory or hub name of a LoRA adapter for the model.
        engine: the library that computes the model: `"transformers"`, or `"llama.cpp"`, which reads GGUF
            files (see `LlamaCppPolicy`).
        vllm: the base URL of a vLLM server that runs the model; `model` is then the model's name there.
        store: the directory of the demonstrations (in a file, relative to the file), or the address of a
            Chroma server (see `open_store`). The default is the user's own store.
        retriever: the name of the retriever; see `RETRIEVERS`.
        k: the number of demonstrations shown.
        pool: the number of demonstrations that the first of two retrieval stages keeps.
        against: the other side of the score; see `InstantScorer`.
        aggregate: how the score combines the scores of the tokens; see `InstantScorer`.
        count_reasoning: whether the score counts a model's thought with its answer; see `InstantScorer`.
        n: the number of candidates.
        finalists: the number of candidates that are sampled to their end; see `Pipeline`.
        sampling: how candidates are sampled.
        instructions: the texts before chosen and before rejected answers.
        chat_template_kwargs: keywords for the chat template, such as `{"enable_thinking": False}`.
        thinking: whether the model thinks before it answers; see `Pipeline`.
        reasoning_tags: the strings around the model's thoughts, such as `["<think>", "</think>"]`, or a list
            of such pairs; by default those in the tokenizer's chat template and added tokens.
        min_similarity: demonstrations below this cosine to the question are not shown; see `Threshold`.
        min_bm25: demonstrations below this BM25 score are not shown.
        substitute: the replacement if all demonstrations are below a limit: `"general"` or `"none"`; see
            `Threshold`.
        note: the origin of the settings; any JSON values, without effect.

    Raises:
        ValueError: a setting is out of range, of the wrong type, or unknown (pydantic's `ValidationError`).
    """

    model_config = STRICT

    model: str | None = None
    revision: str | None = None
    dtype: str | None = None
    device: str | None = None
    device_map: str | None = None
    max_memory: dict[str, str] | None = None
    quantization: Quantization | None = None
    attn_implementation: str | None = None
    adapter: str | None = None
    engine: EngineName = "transformers"
    vllm: str | None = None
    store: str | None = None
    retriever: RetrieverName = "two_stage"
    k: int = 2
    pool: int = 20
    against: Against = "rejected"
    aggregate: Aggregate = "sum"
    count_reasoning: bool = False
    n: int = 8
    finalists: int | None = None
    sampling: SamplingConfig = Field(default_factory=SamplingConfig)
    instructions: InstructionsConfig = Field(default_factory=InstructionsConfig)
    chat_template_kwargs: dict[str, Any] | None = None
    thinking: Thinking | None = None
    reasoning_tags: Tags = None
    min_similarity: float | None = None
    min_bm25: float | None = None
    substitute: Substitute = "general"
    note: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, most in (("n", MAX_CANDIDATES), ("k", MAX_DEMONSTRATIONS), ("pool", MAX_DEMONSTRATIONS)):
            check_count(getattr(self, name), name, most)
        for name, key in (("vllm", environment.VLLM_KEY), ("store", environment.CHROMA_TOKEN)):
            if has_credentials(getattr(self, name) or ""):
                raise ValueError(
                    f"{name} contains a user name, a password or a key, which would end up in files and "
                    f"logs: leave them out of the URL, and give the key in the environment ({key})"
                )
        theirs = [name for name in ("revision", *_WEIGHTS) if getattr(self, name) is not None]
        if self.vllm is not None and theirs:
            raise ValueError(f"{', '.join(theirs)} are the vLLM server's own: give them to `vllm serve`")
        if self.vllm is not None and self.engine != "transformers":
            raise ValueError(f"engine={self.engine!r} and vllm exclude each other: leave one of them out")
        check_engine(self.engine, self._weights())
        self.build_threshold()
        for name, retrievers in FIGURES.items():
            if getattr(self, name) is not None and self.retriever not in retrievers:
                raise ValueError(f"{name} needs one of the retrievers {', '.join(retrievers)}")
        sampling = self.sampling.params()
        check_finalists(self.finalists, sampling)
        if sampling.max_thinking_tokens is not None and self.vllm is not None:
            raise ValueError("max_thinking_tokens needs a model in this process: leave it or vllm out")
        if sampling.guided and self.vllm is not None:
            raise ValueError("decoding='guided' needs a model in this process: leave vllm out")
        return self

    def _weights(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _WEIGHTS}

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ICDPOConfig:
        """Reads a file. A relative `store` is relative to the file.

        Raises:
            InvalidInputError: the file has no JSON object of these settings; the message names the file,
                the field and the value.
            OSError: the file can't be read.
        """
        path = Path(path)
        try:
            fields = json.loads(path.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"{path} is not JSON: {error}") from None
        if not isinstance(fields, dict):
            raise InvalidInputError(f"{path} must contain a JSON object of settings, not {fields!r:.60}")
        try:
            config = cls.model_validate_json(json.dumps(fields))
        except ValidationError as error:
            raise InvalidInputError(f"{path}: {faults_of(error, ICDPOConfig)}") from None
        if config.store is None or is_server(config.store):
            return config
        return config.model_copy(
            update={"store": str(path.parent.resolve() / Path(config.store).expanduser())}
        )

    def changed(self, changes: Mapping[str, Any]) -> ICDPOConfig:
        """Returns a copy with other settings. The settings of `sampling` may be given by their own names.

        Raises:
            ValueError: a name is unknown, or a value can't be used.
        """
        fields = self.model_dump()
        for name, value in changes.items():
            (fields["sampling"] if name in SamplingConfig.model_fields else fields)[name] = value
        try:
            return type(self).model_validate(fields)
        except ValidationError as error:
            raise ValueError(faults_of(error, ICDPOConfig)) from None

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes a file for `read`. The file appears whole or not at all.

        Raises:
            OSError: the file can't be written.
        """
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        fields = json_safe(self.model_dump(mode="json"))
        content = json.dumps(fields, indent=2, ensure_ascii=True, allow_nan=False)
        with atomic_file(Path(path)) as file:
            file.write(f"{content}\n".encode("ascii"))

    def open_store(self) -> DemonstrationStore:
        """Opens the store for reading.

        Raises:
            StoreError: the store can't be opened.
        """
        return open_store(self.store, read_only=True)

    def build_policy(self) -> Policy:
        """Loads the model by its engine, or connects to its vLLM server.

        Raises:
            PolicyError, WeightsError: see `TransformersPolicy.from_pretrained`, `LlamaCppPolicy` and
                `VLLMPolicy`.
        """
        if self.vllm is not None:
            from icdpo_chains.policies.vllm.policy import VLLMPolicy

            return VLLMPolicy(self.vllm, self.model)
        return load_policy(self.engine, self.model, revision=self.revision, weights=self._weights())

    def build_retriever(self, store: DemonstrationStore) -> Retriever:
        """Builds the retriever over a store; the retriever draws with the seed 0."""
        threshold = self.build_threshold()

        def side(*, require_chosen: bool = True, require_rejected: bool = False) -> Retriever:
            needs = {"require_chosen": require_chosen, "require_rejected": require_rejected}
            retriever = RETRIEVERS[self.retriever](store, self.k, pool=self.pool, **needs)
            return threshold.applied(retriever, store, self.k, **needs)

        return side() if self.against == "base" else TwoSidedRetriever(store, side)

    def build_threshold(self) -> Threshold:
        """Builds the threshold of the retriever.

        Raises:
            TypeError, ValueError: a limit is out of range.
        """
        return Threshold(
            min_similarity=self.min_similarity, min_bm25=self.min_bm25, substitute=self.substitute
        )

    def build_scorer(self) -> InstantScorer:
        """Builds the scorer."""
        return InstantScorer(self.against, self.aggregate, self.count_reasoning)

    def build_instructions(self) -> Instructions:
        """Builds the instructions."""
        return Instructions(self.instructions.chosen, self.instructions.rejected)
