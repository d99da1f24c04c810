"""`ICDPOSettings`: the settings that the chat models and LLMs of agent frameworks share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, PrivateAttr, StrictBool, StrictFloat, StrictInt, model_validator
from typing_extensions import Self

from icdpo_chains.config import ICDPOConfig
from icdpo_chains.config_parts import Tags
from icdpo_chains.defaults import default_icdpo
from icdpo_chains.demonstrations.retriever import MAX_DEMONSTRATIONS
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.foundation.picklable import PicklableSettings
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.packaged_models.catalog import default_model
from icdpo_chains.policies.sampling import MAX_CANDIDATES, SamplingParams, check_finalists
from icdpo_chains.prompts.thinking import Effort
from icdpo_chains.scoring import InstantScorer

__all__ = ["CALL_SETTINGS", "ICDPOSettings"]

_BUILDING = (
    *("revision", "store", "against", "aggregate", "dtype", "device", "device_map", "max_memory"),
    *("quantization", "attn_implementation", "adapter", "engine", "count_reasoning", "reasoning_tags"),
)
_SAMPLING = {
    "max_tokens": "max_new_tokens",
    "min_tokens": "min_new_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "repetition_penalty": "repetition_penalty",
    "stop": "stop",
    "seed": "seed",
    "decoding": "decoding",
    "guidance": "guidance",
    "alpha": "alpha",
    "max_thinking_tokens": "max_thinking_tokens",
}
"""The frameworks' name of each sampling setting, and its name in `SamplingParams`."""

CALL_SETTINGS = ("n", "k", "finalists", *_SAMPLING, "chat_template_kwargs", "thinking")
"""The settings that a single call may change."""


class ICDPOSettings(PicklableSettings):
    """The settings of a framework's model that answers by ICDPO. The model's class inherits them.

    `None` leaves a setting to the ICDPO.

    Attributes:
        icdpo: an ICDPO of the core. It excludes the settings that build one.
        config: a file of settings, such as the file that `icdpo tune` writes. It excludes the same settings.
        model: the name or path of the model; the default is `ICDPO_MODEL`.
        revision: the model's branch, tag or commit on the hub.
        store: a demonstration store or its directory; the default is `ICDPO_STORE`.
        against: the other side of the score: `"rejected"`, `"base"` or `"auto"`.
        aggregate: how the score combines the scores of the tokens: `"sum"` or `"mean"`.
        count_reasoning: whether the score counts a model's thought with its answer; see `InstantScorer`.
        dtype: the dtype of the weights, such as `"float32"`.
        device: the device of the model, such as `"cuda"`.
        device_map: the devices of the model's layers, such as `"auto"`, in place of `device`.
        max_memory: with a device map, the maximum memory of each device, such as `{"0": "20GiB"}`.
        quantization: `"4bit"` or `"8bit"`, by bitsandbytes.
        attn_implementation: the attention that reads prompts, such as `"eager"`.
        adapter: the directory or hub name of a LoRA adapter for the model.
        engine: the library that computes the model: `"transformers"`, or `"llama.cpp"` for a GGUF file.
        n: the number of candidates.
        k: the number of demonstrations shown.
        finalists: the number of candidates that are sampled to their end; see `Pipeline`.
        chat_template_kwargs: keywords for the chat template, such as `{"enable_thinking": False}`. Keywords
            of a call are added to them.
        thinking: whether the model thinks before it answers; see `Pipeline`.
        reasoning_tags: the strings around the model's thoughts, such as `("<think>", "</think>")`, or a list
            of such pairs; by default those in the tokenizer's chat template and added tokens.
        max_tokens: the longest answer, in tokens.
        min_tokens: the shortest answer, in tokens.
        temperature: 0 always takes the likeliest token: all candidates are then the same.
        top_p: keeps the likeliest tokens that together reach this probability.
        top_k: keeps this many of the likeliest tokens.
        repetition_penalty: above 1, lowers the probability of tokens that have already occurred.
        stop: strings that end an answer; they are not part of it.
        seed: makes the answers reproducible.
        decoding: `"sample"`, or `"guided"` by the demonstrations at each token; see `SamplingParams`.
        guidance: the weight beta of guided decoding.
        alpha: the least share of the likeliest token's probability in guided decoding.
        max_thinking_tokens: the longest thought of a model that thinks, in tokens.

    Raises:
        ValueError: a setting is out of range, unknown, or contradicts another setting (pydantic's
            `ValidationError`).
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=())

    icdpo: ICDPO | None = Field(default=None, exclude=True, repr=False)
    config: str | None = None
    model: str = Field(default_factory=default_model)
    revision: str | None = None
    store: str | DemonstrationStore | None = Field(default=None, exclude=True)
    against: str = "rejected"
    aggregate: str = "sum"
    count_reasoning: StrictBool = False
    dtype: str | None = None
    device: str | None = None
    device_map: str | None = None
    max_memory: dict[str, str] | None = None
    quantization: str | None = None
    attn_implementation: str | None = None
    adapter: str | None = None
    engine: str = "transformers"
    n: StrictInt | None = None
    k: StrictInt | None = None
    finalists: StrictInt | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    thinking: StrictBool | Effort | None = None
    reasoning_tags: Tags = None
    max_tokens: StrictInt | None = None
    min_tokens: StrictInt | None = None
    temperature: StrictFloat | StrictInt | None = None
    top_p: StrictFloat | StrictInt | None = None
    top_k: StrictInt | None = None
    repetition_penalty: StrictFloat | StrictInt | None = None
    stop: tuple[str, ...] | None = None
    seed: StrictInt | None = None
    decoding: str | None = None
    guidance: StrictFloat | StrictInt | None = None
    alpha: StrictFloat | StrictInt | None = None
    max_thinking_tokens: StrictInt | None = None

    _read: ICDPOConfig | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _accept_other_types(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        changed = dict(values)
        for name in ("config", "store"):
            if isinstance(changed.get(name), Path):
                changed[name] = str(changed[name])
        if isinstance(changed.get("stop"), str):
            changed["stop"] = (changed["stop"],)
        return changed

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.config is not None:
            self._take_config(self.config)
        elif self.icdpo is not None:
            defaults = {name: type(self).model_fields[name].default for name in _BUILDING}
            given = [name for name in _BUILDING if getattr(self, name) != defaults[name]]
            if "model" in self.model_fields_set and self.model != self.icdpo.policy.name:
                given.append("model")
            if given:
                raise ValueError(
                    f"{', '.join(given)} and icdpo exclude each other: build the ICDPO with "
                    "these settings, or leave icdpo out"
                )
            # Without an assignment, which would mark the model as given.
            self.__dict__["model"] = self.icdpo.policy.name
        else:
            self._config()
        InstantScorer(self.against, self.aggregate)  # type: ignore[arg-type]  # this is the check
        for name, most in (("n", MAX_CANDIDATES), ("k", MAX_DEMONSTRATIONS)):
            if getattr(self, name) is not None:
                check_count(getattr(self, name), name, most)
        check_finalists(self.finalists, self.sampling())
        return self

    def _take_config(self, path: str) -> None:
        self._read = ICDPOConfig.read(path)
        found = {name: getattr(self._read, name) for name in ("model", *_BUILDING)}
        # The name of a server's only model is unknown before the first request.
        found["model"] = found["model"] or self._read.vllm or default_model()
        given = [name for name in self.model_fields_set & found.keys() if getattr(self, name) != found[name]]
        if self.icdpo is not None:
            given.append("icdpo")
        if given:
            raise ValueError(
                f"{', '.join(sorted(given))} and the file {path} exclude each other: set them in the file, "
                "or leave config out"
            )
        # Without assignments, which would mark them as given.
        self.__dict__.update({name: value for name, value in found.items() if name != "store"})

    @property
    def core(self) -> ICDPO:
        """The ICDPO that answers, with the settings of the chat template. The first use builds it."""
        if self.icdpo is None and self._built is None:
            store = self.store if isinstance(self.store, DemonstrationStore) else None
            self._built = default_icdpo(self._read or self._config(), store=store)
        built: ICDPO = self.icdpo or self._built
        return built.with_chat_template_kwargs(self.chat_template_kwargs, self.thinking)

    def _config(self) -> ICDPOConfig:
        """The settings that build the core; the others belong to each call."""
        named = {name: getattr(self, name) for name in ("model", *_BUILDING)}
        if isinstance(self.store, DemonstrationStore):
            del named["store"]
        return ICDPOConfig().changed(named)

    def sampling(self, given: Mapping[str, Any] | None = None) -> SamplingParams:
        """Returns the sampling parameters of a call, without building the core.

        Args:
            given: the settings of the call, which override the model's; other names are ignored.

        Raises:
            TypeError, ValueError: see `SamplingParams`.
        """
        built: ICDPO | None = self.icdpo or self._built
        if built is not None:
            sampling = built.sampling
        else:
            sampling = self._read.sampling.params() if self._read is not None else SamplingParams()
        changes: dict[str, Any] = {}
        for name, ours in _SAMPLING.items():
            value = self._setting(name, given or {})
            if value is not None:
                changes[ours] = tuple(value) if isinstance(value, list) else value
        least = min(sampling.min_new_tokens, changes.get("max_new_tokens", sampling.max_new_tokens))
        return replace(sampling, **{"min_new_tokens": least, **changes})

    def options(self, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Returns the options of `ICDPO.generate` for one call.

        Args:
            given: the settings of the call, and `exclude`, ids of demonstrations that must not be shown;
                other names are ignored.

        Raises:
            TypeError, ValueError: a setting is out of range.
        """
        _ = self.core  # the settings override its sampling parameters
        given = given or {}
        return {
            "n": self._setting("n", given),
            "k": self._setting("k", given),
            "finalists": self._setting("finalists", given),
            "sampling": self.sampling(given),
            "exclude": given.get("exclude") or (),
            # The model's own are in its core.
            "chat_template_kwargs": given.get("chat_template_kwargs") or {},
            "thinking": given.get("thinking"),
        }

    def _setting(self, name: str, given: Mapping[str, Any]) -> Any:
        value = given.get(name)
        return getattr(self, name) if value is None else value
