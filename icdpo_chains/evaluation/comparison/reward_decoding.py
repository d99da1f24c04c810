"""`RewardDecoding`: sampling with the likeliest tokens re-weighted by their rewards."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from icdpo_chains.evaluation.judges.reward_model import RewardModel
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.policies.policy import check_fits
from icdpo_chains.policies.sampling import SampleRequest, SamplingParams
from icdpo_chains.policies.transformers.policy import TransformersPolicy

if TYPE_CHECKING:
    import torch

__all__ = ["RewardDecoding"]


class RewardDecoding:
    """Reward-augmented decoding, as in ARGS (arXiv 2402.01694) and RAD (arXiv 2310.09520).

    At each step, `weight` times the reward of the answer continued by one token is added to the logits of
    the `top_k` likeliest tokens; the others are left out.

    Args:
        policy: samples.
        reward_model: fitted with this policy, so that it can use the key-value cache of the sampled tokens.
        weight: the weight of the reward; 0 is plain top-k sampling.
        top_k: the number of tokens to try at each step.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or the reward model belongs to another policy.
    """

    def __init__(
        self,
        policy: TransformersPolicy,
        reward_model: RewardModel,
        *,
        weight: float = 1.0,
        top_k: int = 10,
    ) -> None:
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            raise TypeError(f"weight must be a number, not {weight!r}")
        if not math.isfinite(weight):
            raise ValueError(f"weight is {weight}, and must be finite (0 is plain sampling)")
        if reward_model.policy.model is not policy.model:
            raise ValueError(
                f"the reward model reads the hidden states of {reward_model.policy.name!r}, and "
                f"{policy.name!r} samples: fit a reward model with the policy that samples"
            )
        self._policy, self._reward_model, self._weight = policy, reward_model, weight
        self._top_k = check_count(top_k, "top_k", 10_000)
        self._shares: bool | None = None  # not tried yet

    def generate(
        self, context_ids: Sequence[int], sampling: SamplingParams, seed: int | None = None
    ) -> tuple[tuple[int, ...], str]:
        """Samples one answer.

        Args:
            context_ids: the context, without any of the answer.
            sampling: the sampling parameters for the re-weighted logits; its own `top_k` reduces the tokens
                further.
            seed: makes the answer reproducible; by default `sampling.seed`.

        Returns:
            The answer's token ids, with the end token if the model ended by itself, and its text.

        Raises:
            ValueError: the context is empty, or longer than the model can read.
        """
        import torch
        from transformers import DynamicCache, GenerationConfig

        from icdpo_chains.policies.decoding import Row

        policy = self._policy
        check_fits(policy, context_ids, sampling.max_new_tokens)
        row = Row(policy.tokenizer, SampleRequest(context_ids, 1, sampling), 0)

        def finished(ids: torch.Tensor, scores: Any, **options: Any) -> torch.Tensor:
            token = int(ids[0, -1])
            row.append(token, ended=token in policy.eos_token_ids)
            return torch.tensor([row.finished], device=ids.device)

        # Set everything that a model's own generation settings could change.
        eos = sorted(policy.eos_token_ids)
        options: dict[str, Any] = {"do_sample": False}
        if sampling.temperature > 0:
            options = {
                "do_sample": True,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": sampling.top_k or 0,
            }
        config = GenerationConfig(
            max_new_tokens=sampling.max_new_tokens,
            min_new_tokens=sampling.min_new_tokens,
            repetition_penalty=sampling.repetition_penalty,
            eos_token_id=eos or None,
            pad_token_id=eos[0] if eos else 0,
            **options,
        )
        device = policy.model.device
        ids = torch.tensor([list(context_ids)], device=device)
        cache = DynamicCache(config=policy.model.config)
        with (
            policy.exclusive(),
            torch.inference_mode(),
            _seeded(sampling.seed if seed is None else seed, device),
        ):
            policy.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                past_key_values=cache,
                generation_config=config,
                logits_processor=[_Reweighting(self, cache)],
                stopping_criteria=[finished],
            )
        sample = row.sample()
        return sample.token_ids, sample.text

    def _states(self, cache: Any, tokens: torch.Tensor) -> torch.Tensor:
        """Returns the last layer's states, float32 [tokens, hidden], with each token as the only next one.

        Args:
            cache: the cache of the preceding tokens; only read.
            tokens: int64 [tokens].
        """
        import torch

        from icdpo_chains.policies.transformers.attention import (
            UnsupportedAttentionError,
            shared_prompt_attention,
        )
        from icdpo_chains.policies.transformers.branches import sharing_is_exact
        from icdpo_chains.policies.transformers.cache import can_share, share

        backbone = self._reward_model.features.backbone
        if self._shares is None:
            self._shares = sharing_is_exact(self._policy.model)
        if self._shares and can_share(cache, 1):
            positions = torch.full_like(tokens, cache.get_seq_length())[:, None]
            shared = share([cache], [len(tokens)], 1)
            try:
                with shared_prompt_attention(self._policy.model):
                    out = backbone(
                        input_ids=tokens[:, None],
                        position_ids=positions,
                        past_key_values=shared,
                        use_cache=True,
                    )
                return _last(out)
            except UnsupportedAttentionError:
                self._shares = False
        copied = copy.deepcopy(cache)
        copied.reorder_cache(torch.zeros_like(tokens))
        return _last(backbone(input_ids=tokens[:, None], past_key_values=copied, use_cache=True))


class _Reweighting:
    """A logits processor of one call of transformers' `generate`.

    Args:
        decoding: provides the settings.
        cache: the cache that `generate` fills.
    """

    def __init__(self, decoding: RewardDecoding, cache: Any) -> None:
        self._decoding, self._cache = decoding, cache
        self._tokens: torch.Tensor | None = None  # the tokens of the previous step, and their states
        self._states: torch.Tensor | None = None
        self._total: torch.Tensor | float = 0.0  # the sum of the answer's states
        self._count = 0

    def __call__(self, ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Returns the new logits [1, vocabulary] that follow the ids [1, length]."""
        import torch

        decoding, reward_model = self._decoding, self._decoding._reward_model
        if self._tokens is not None and self._states is not None:
            # The sampled token is one of the tried tokens.
            self._total = self._total + self._states[self._tokens == ids[0, -1]][0]
            self._count += 1
        likeliest, tokens = logits[0].topk(min(decoding._top_k, logits.shape[-1]))
        self._tokens, self._states = tokens, decoding._states(self._cache, tokens)
        features = reward_model.features.pooled(self._states, self._total + self._states, self._count + 1)
        weights = torch.from_numpy(reward_model.weights).to(features.device)
        rewards = features @ weights + reward_model.offset
        new = torch.full_like(logits, -torch.inf)
        new[0, tokens] = likeliest + decoding._weight * rewards
        return new


def _last(out: Any) -> torch.Tensor:
    states: torch.Tensor = out.last_hidden_state[:, -1].float()
    return states


@contextmanager
def _seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Seeds torch's global random numbers, which `generate` uses, and restores them afterwards."""
    import torch

    with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        if seed is not None:
            torch.manual_seed(seed)
        yield
