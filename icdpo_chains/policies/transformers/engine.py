"""`Engine`: reads prompts once, and samples and scores their continuations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import torch

from icdpo_chains.foundation.concurrency import check_cancelled
from icdpo_chains.policies.branches import Branches
from icdpo_chains.policies.decoding import decode
from icdpo_chains.policies.device_choice import DeviceTokenChooser
from icdpo_chains.policies.early_rejection import Halving
from icdpo_chains.policies.guidance import Guidance, Step
from icdpo_chains.policies.guided_step import GuidedStep
from icdpo_chains.policies.policy import ScoreRequest
from icdpo_chains.policies.sampling import Sample, SampleRequest
from icdpo_chains.policies.score_chunks import score_chunks
from icdpo_chains.policies.token_choice import ChooserOf, TokenChooser
from icdpo_chains.policies.transformers.attention import UnsupportedAttentionError
from icdpo_chains.policies.transformers.branches import (
    Prompt,
    SharedBranches,
    continuation_logprobs,
    sharing_is_exact,
)
from icdpo_chains.policies.transformers.cache import can_share
from icdpo_chains.policies.transformers.cuda_graph import CaptureError
from icdpo_chains.policies.transformers.packed_linears import PackedLinears
from icdpo_chains.policies.transformers.prompt_reader import PromptReader
from icdpo_chains.policies.transformers.static_decoding import StaticBranches
from icdpo_chains.policies.transformers.unshared_branches import (
    CopiedBranches,
    UncachedBranches,
    UnsharedBranches,
    exact_branches,
)

__all__ = ["Engine"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

# The most logits to hold at a time: 2**26 in float32 are 256 MiB.
_MOST_LOGITS = 2**26

# A GPU holds more logits when it scores: with few tokens at a time, it mostly waits for launches.
_LOGITS_FACTOR = 4


class Engine:
    """The computations of `TransformersPolicy`. Not thread-safe.

    Args:
        model: a `transformers` causal language model.
        most_packed: see `PackedLinears`.
        most_prefixes: see `PrefixCache`.
        static: decode in steps of a fixed shape (see `StaticBranches`), wait once for each (see
            `DeviceTokenChooser`), and read prompts together (see `PromptReader`); by default on CUDA.
    """

    def __init__(
        self, model: Any, most_packed: int | None, most_prefixes: int, static: bool | None = None
    ) -> None:
        self._model = model
        few = torch.zeros(1, 2, dtype=torch.long, device=model.device)
        self._linears = PackedLinears(model, most_packed, lambda: model(input_ids=few, use_cache=False))
        self._shares: bool | None = None  # not tried yet
        self._unshared: UnsharedBranches = CopiedBranches
        self._static = model.device.type == "cuda" if static is None else static
        self._static_tried = False
        self._reader = PromptReader(model, most_prefixes, _MOST_LOGITS, together=self._static)
        self._chooser: ChooserOf = DeviceTokenChooser if self._static else TokenChooser
        # On a CPU, that saves a tenth of the time, and a score's last bits would depend on other questions.
        self._scores_together = model.device.type != "cpu"

    @property
    def shares(self) -> bool:
        """Whether candidates share their prompts, as far as is known."""
        return self._shares is not False

    def release(self) -> None:
        """Drops states that can be computed again."""
        self._reader.release()

    def sample(
        self, requests: Sequence[SampleRequest], eos_token_ids: Collection[int], tokenizer: Any
    ) -> list[list[Sample]]:
        """Samples for several contexts, all rows together."""
        return self._computed(lambda: self._sample(requests, eos_token_ids, tokenizer))

    def logprobs(self, requests: Sequence[ScoreRequest]) -> list[list[list[float]]]:
        """Returns the log-probability of each token of each continuation of each request."""
        return self._computed(lambda: self._logprobs(requests))

    def _computed(self, call: Callable[[], T]) -> T:
        with torch.inference_mode(), self._linears.used():
            while True:
                try:
                    return call()
                except UnsupportedAttentionError as error:
                    # The test on a few tokens can miss this: for example, a window shorter than the context.
                    self._stop_sharing(error)
                except CaptureError as error:
                    self._stop_static(error)

    def _sample(
        self, requests: Sequence[SampleRequest], eos_token_ids: Collection[int], tokenizer: Any
    ) -> list[list[Sample]]:
        prompts = self._prefill([request.context for request in requests])
        guided = [i for i, request in enumerate(requests) if request.sampling.guided]
        contrasts = dict(zip(guided, self._prefill([requests[i].contrast for i in guided]), strict=True))
        together = [range(len(requests))]
        if not self._can_share([*prompts, *contrasts.values()], max(_rooms(requests))):
            together = [range(i, i + 1) for i in together[0]]
        samples: list[list[Sample]] = []
        for numbers in together:
            some, read = [requests[i] for i in numbers], [prompts[i] for i in numbers]
            static = self._can_share(read, max(_rooms(some))) and self._can_be_static()
            step, guidance = self._steps(some, read, [contrasts[i] for i in numbers if i in contrasts])
            samples += decode(
                [prompt.logits for prompt in read],
                step,
                some,
                eos_token_ids=eos_token_ids,
                tokenizer=tokenizer,
                halving=self._halving(some),
                guidance=guidance,
                keep_finished=static,
                chooser=self._chooser,
            )
        return samples

    def _steps(
        self,
        requests: Sequence[SampleRequest],
        prompts: Sequence[Prompt],
        contrasts: Sequence[Prompt],
    ) -> tuple[Step, Guidance | None]:
        """Returns the step of all rows, and the contrast of the guided rows."""
        if not contrasts:
            return self._step(prompts, requests), None
        logits = [prompt.logits for prompt in contrasts]
        guided = [request for request in requests if request.sampling.guided]
        both, twice = [*prompts, *contrasts], [*requests, *guided]
        if self._can_share(both, max(_rooms(twice))):
            joint = GuidedStep(self._growing(both, twice), requests)
            return joint.expert, Guidance(logits, joint.contrast, requests)
        step = self._step(prompts, requests)
        return step, Guidance(logits, self._step(contrasts, guided), requests)

    def _growing(self, prompts: Sequence[Prompt], requests: Sequence[SampleRequest]) -> Branches:
        """Returns rows that continue prompts by one token per step; several prompts must support sharing."""
        counts, rooms = [request.n for request in requests], _rooms(requests)
        if self._can_share(prompts, max(rooms)) and self._can_be_static():
            return StaticBranches(self._model, prompts, counts, rooms)
        return self._branches(prompts, counts, rooms)

    def _step(self, prompts: Sequence[Prompt], requests: Sequence[SampleRequest]) -> Step:
        branches = self._growing(prompts, requests)

        def step(tokens: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
            if kept is not None:
                branches.keep(kept)
            return branches.read(tokens[:, None])[:, -1]

        return step

    def _halving(self, requests: Sequence[SampleRequest]) -> Halving | None:
        watched = [request for request in requests if request.finalists is not None]
        if not watched or not self._shares:
            return None
        prompts = self._prefill([request.contrast for request in watched])
        if not self._can_share(prompts, max(_rooms(watched))):
            return None
        branches = self._branches(prompts, [request.n for request in watched], _rooms(watched))
        return Halving(branches, [prompt.logits for prompt in prompts], requests, _MOST_LOGITS)

    def _logprobs(self, requests: Sequence[ScoreRequest]) -> list[list[list[float]]]:
        most = _MOST_LOGITS * (1 if self._model.device.type == "cpu" else _LOGITS_FACTOR)
        tokens = max(1, most // self._model.config.get_text_config().vocab_size)
        # A request without a token to score is in no chunk.
        results: list[list[list[float]]] = [
            [] if any(map(len, one.continuations)) else [[] for _ in one.continuations] for one in requests
        ]
        prompts: dict[int, Prompt] = {}
        for chunk in score_chunks(requests, tokens, mixed=self._scores_together):
            check_cancelled()
            # A request that the previous chunk began is read already.
            prompts = {i: prompts[i] for i, _ in chunk if i in prompts}  # the first, if any
            new = [i for i, _ in chunk if i not in prompts]
            prompts |= dict(zip(new, self._prefill([requests[i].context for i in new]), strict=True))
            longest = max(len(ids) for _, some in chunk for ids in some)
            if self._can_share(list(prompts.values()), longest):
                rows = continuation_logprobs(
                    list(prompts.values()), [some for _, some in chunk], self._branches
                )
            else:  # the rows consume their prompt's cache
                rows = []
                for i, some in chunk:
                    rows += continuation_logprobs([prompts.pop(i)], [some], self._branches)
                prompts = {}
            for (i, _), found in zip(chunk, rows, strict=True):
                results[i] += found
        return results

    def _can_share(self, prompts: Sequence[Prompt], room: int) -> bool:
        return self._sharing() and all(can_share(prompt.cache, room) for prompt in prompts)

    def _sharing(self) -> bool:
        if self._shares is None:
            shares = sharing_is_exact(self._model)
            if not shares:
                self._unshared = exact_branches(self._model)
                self._stop_sharing("it gives other logits")
            self._shares = shares
        return self._shares

    def _stop_sharing(self, reason: object) -> None:
        self._shares = False
        slower = "they are sampled with a cache each, which gives the same answers more slowly"
        if self._unshared is UncachedBranches:
            slower = "nor can its cache be used, so that the whole text is read again for each token"
        name = type(self._model).__name__
        _log.warning(
            "the attention of %s can't share a prompt between candidates (%s): %s", name, reason, slower
        )

    def _can_be_static(self) -> bool:
        if self._static and not self._static_tried:
            devices = {parameter.device for parameter in self._model.parameters()}
            if len(devices) > 1:
                self._stop_static(f"its weights are on {len(devices)} devices")
            # One token at a time; on CUDA the second and later steps are replayed.
            elif not sharing_is_exact(self._model, StaticBranches, (1,) * 8):
                self._stop_static("a step of a fixed shape fails, or gives other logits")
            self._static_tried = True
        return self._static

    def _stop_static(self, reason: object) -> None:
        self._static = False
        _log.warning(
            "the decoding steps of %s can't be recorded as a CUDA graph (%s): they run unrecorded, which is "
            "slower and gives the same answers",
            type(self._model).__name__,
            reason,
        )

    def _branches(self, prompts: Sequence[Prompt], counts: Sequence[int], rooms: Sequence[int]) -> Branches:
        """Returns rows that continue prompts; several prompts must support sharing."""
        if self._can_share(prompts, max(rooms)):
            return SharedBranches(self._model, prompts, counts, rooms)
        return self._unshared(self._model, prompts[0], counts[0])

    def _prefill(self, contexts: Sequence[Sequence[int]]) -> list[Prompt]:
        shared = self._sharing()
        if not shared and self._unshared is UncachedBranches:
            return [self._reader.read_uncached(context) for context in contexts]
        return self._reader.read(contexts, shared=shared)


def _rooms(requests: Sequence[SampleRequest]) -> list[int]:
    """Returns the most tokens that follow the context of each request."""
    return [request.sampling.max_new_tokens for request in requests]
