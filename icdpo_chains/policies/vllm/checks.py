"""The checks of `VLLMPolicy` at its start: the tokenizer and the server's log-probabilities."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icdpo_chains.errors import PolicyError
from icdpo_chains.policies.sampling import SamplingParams
from icdpo_chains.policies.tokenizer_check import PROBES, check_same_tokens

if TYPE_CHECKING:
    from icdpo_chains.policies.policy import Policy
    from icdpo_chains.policies.vllm.server import VLLMServer

__all__ = ["check_logprobs", "check_tokenizer", "load_tokenizer"]

_MOST_APART = 1.0  # nats per token; raw log-probabilities of bfloat16 kernels differ by at most 0.2


def load_tokenizer(given: Any, card: Mapping[str, Any]) -> tuple[Any, frozenset[int]]:
    """Returns a tokenizer and its end tokens, including those in the generation_config.json next to it.

    Args:
        given: a tokenizer, or its name or path; `None` for the model's tokenizer.
        card: the server's description of the model.

    Raises:
        PolicyError: the tokenizer can't be loaded.
    """
    from transformers import AutoTokenizer, GenerationConfig

    from icdpo_chains.packaged_models import catalog

    if given is not None and not isinstance(given, (str, Path)):
        return given, frozenset({given.eos_token_id} - {None})
    names = [given] if given is not None else [card.get("root"), card["id"]]
    failures = []
    for name in dict.fromkeys(str(name) for name in names if name):
        source = catalog.resolve(os.path.expanduser(name))
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        except (OSError, ValueError, KeyError, ImportError) as error:
            failures.append(f"{name!r}: {' '.join(str(error).split())[:200]}")
            continue
        listed: Any = None
        with contextlib.suppress(OSError, ValueError):
            listed = GenerationConfig.from_pretrained(source).eos_token_id
        ends = set(listed) if isinstance(listed, (list, tuple)) else {listed}
        return tokenizer, frozenset(ends | {tokenizer.eos_token_id}) - {None}
    raise PolicyError(
        f"the tokenizer of {card['id']!r} can't be loaded ({'; '.join(failures)}): give tokenizer=, the "
        "name or path of the server's model"
    )


def check_tokenizer(server: VLLMServer, model: str, tokenizer: Any) -> None:
    """Compares the tokens of server and tokenizer for texts, the whole vocabulary and special tokens.

    Raises:
        TokenizerMismatch: the tokens differ.
    """

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        answers = server.ask(
            "tokenize", [{"model": model, "prompt": text, "add_special_tokens": False} for text in texts]
        )
        try:
            return [list(answer["tokens"]) for answer in answers]
        except (KeyError, TypeError):
            raise PolicyError(f"{server.url}/tokenize does not answer like vLLM: check the address") from None

    check_same_tokens(
        tokenizer,
        tokenize,
        f"the vLLM server at {server.url}",
        f"Give the tokenizer of the server's model ({model!r}) as tokenizer",
        special="".join(tokenizer.all_special_tokens),
    )


def check_logprobs(policy: Policy, url: str) -> None:
    """Samples a few tokens at a high temperature and compares their log-probabilities with their scores.

    Args:
        policy: samples and scores on the server.
        url: the server's address, for the error message.

    Raises:
        PolicyError: the log-probabilities are not those of the model's unmodified distribution.
    """
    ids = policy.tokenizer(PROBES[0], add_special_tokens=False).input_ids
    new = 8
    if policy.max_context is not None:
        ids = ids[: max(1, policy.max_context - new)]
    sampling = SamplingParams(max_new_tokens=new, min_new_tokens=new, temperature=2.0, top_p=1.0, seed=0)
    (sample,) = policy.sample(ids, 1, sampling)
    (scores,) = policy.logprobs(ids, [sample.token_ids])
    apart = sum(abs(a - b) for a, b in zip(sample.logprobs, scores, strict=True)) / len(scores)
    if not apart <= _MOST_APART or max(*sample.logprobs, *scores) > 0.01:
        raise PolicyError(
            f"the log-probabilities that the vLLM server at {url} returns with its samples are not "
            f"the model's own ({apart:.1f} nats per token apart): start it with --logprobs-mode "
            "raw_logprobs, which is the default"
        )
