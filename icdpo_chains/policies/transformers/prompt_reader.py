"""`PromptReader`: reads prompts, each by itself or several in one pass through the model."""

from __future__ import annotations

import inspect
import itertools
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from icdpo_chains.policies.transformers.attention import shared_prompt_attention
from icdpo_chains.policies.transformers.branches import Prompt, SharedBranches, sharing_is_exact
from icdpo_chains.policies.transformers.prefix_cache import BLOCK, PrefixCache

__all__ = ["PromptReader"]

_log = logging.getLogger(__name__)

# The tokens of a pass, padding included: a GPU then computes for longer than it waits for launches.
_MOST_TOKENS = 8192

# A GPU takes as long for a block of this many tokens as for a shorter block.
_LONG_BLOCK = 512


class PromptReader:
    """Reads prompts.

    A GPU waits for launches while it reads one prompt. Several prompts are read in one pass there, padded to
    the longest. A CPU would gain nothing.

    Args:
        model: the language model.
        most_prefixes: see `PrefixCache`.
        most_logits: the most logits to hold at a time, for models that return those of all tokens.
        together: whether to read several prompts in one pass; only if the model gives the same logits then.
    """

    def __init__(self, model: Any, most_prefixes: int, most_logits: int, *, together: bool) -> None:
        self._model = model
        self._prefixes = PrefixCache(most_prefixes, _LONG_BLOCK if together else BLOCK)
        self._takes_logits_to_keep = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._most_tokens = _MOST_TOKENS
        if not self._takes_logits_to_keep:
            self._most_tokens = min(_MOST_TOKENS, most_logits // model.config.get_text_config().vocab_size)
        self._together, self._tried = together, False

    def read(self, contexts: Sequence[Sequence[int]], *, shared: bool) -> list[Prompt]:
        """Reads prompts.

        Several prompts that are read together use the prefix cache for their common beginning alone. So the
        last bits of the logits depend on the prompts of the call, and never on earlier calls.

        Args:
            contexts: token ids.
            shared: whether rows can share their prompt in the model.
        """
        if len(contexts) < 2 or not shared or not self._can_read_together():
            return [self._read_alone(context, shared=shared) for context in contexts]
        length = _common_blocks(contexts, self._prefixes.block)
        common = self._read_beginning(contexts[0], length) if length else None
        prompts: dict[int, Prompt] = {}
        for numbers in self._passes([len(context) - length for context in contexts]):
            read = self._read_together([contexts[i] for i in numbers], common)
            prompts.update(zip(numbers, read, strict=True))
        return [prompts[i] for i in range(len(contexts))]

    def release(self) -> None:
        """Drops states that can be computed again."""
        self._prefixes.clear()

    def read_uncached(self, context: Sequence[int]) -> Prompt:
        """Reads a prompt for a model whose cache can't be used."""
        return Prompt(len(context), self._pass([context], None)[0, -1], None, context)

    def _read_alone(self, context: Sequence[int], *, shared: bool) -> Prompt:
        """Reads a context, without the beginning that the prefix cache holds."""
        cache = DynamicCache(config=self._model.config)
        plain = _is_plain(cache)
        with self._reading(plain and shared):
            if not plain or self._prefixes.max_bytes == 0:
                return Prompt(len(context), self._pass([context], cache)[0, -1], cache)
            block = self._prefixes.block
            for begin in range(self._prefixes.fill(cache, context), len(context), block):
                logits = self._pass([context[begin : begin + block]], cache)[0, -1]
        self._prefixes.keep(cache, context)
        return Prompt(len(context), logits, cache)

    def _read_beginning(self, context: Sequence[int], length: int) -> DynamicCache:
        """Reads the first tokens of a context: whole blocks, which end before the context's last token."""
        cache = DynamicCache(config=self._model.config)
        step = self._prefixes.block if self._prefixes.max_bytes else length
        for begin in range(self._prefixes.fill(cache, context[: length + 1]), length, step):
            self._pass([context[begin : begin + step]], cache)
        self._prefixes.keep(cache, context[:length])
        return cache

    def _reading(self, usable: bool) -> AbstractContextManager[None]:
        """The attention that reads prompts: `shared_prompt_attention` if it is usable and faster."""
        faster = self._model.device.type == "cpu" and self._model.dtype == torch.bfloat16
        return shared_prompt_attention(self._model) if faster and usable else nullcontext()

    def _can_read_together(self) -> bool:
        if self._together and not self._tried:
            # A layer with a window drops some of its past, and a recurrent layer would read the padding.
            if not _is_plain(DynamicCache(config=self._model.config)):
                self._together = False
            elif not sharing_is_exact(self._model, SharedBranches, read=self._read_together):
                self._together = False
                _log.warning(
                    "%s fails or gives other logits when it reads several prompts in one pass: they are read "
                    "one after the other, which is slower",
                    type(self._model).__name__,
                )
            self._tried = True
        return self._together

    def _passes(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Returns the numbers of the prompts of each pass: prompts of about the same length."""
        numbers: list[int] = []
        for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
            if numbers and (len(numbers) + 1) * lengths[i] > self._most_tokens:
                yield numbers
                numbers = []
            numbers.append(i)
        yield numbers

    def _read_together(
        self, contexts: Sequence[Sequence[int]], common: DynamicCache | None = None
    ) -> list[Prompt]:
        """Reads prompts in one pass, behind their common beginning.

        They are padded on the right, where no other token attends, so no mask is needed.
        """
        begin = 0 if common is None else common.get_seq_length()
        cache = DynamicCache(config=self._model.config)
        if common is not None:
            for i, layer in enumerate(common.layers):
                cache.update(
                    *(each.expand(len(contexts), -1, -1, -1) for each in (layer.keys, layer.values)), i
                )
        ends = [len(context) - begin - 1 for context in contexts]
        kept = sorted(set(ends)) if self._takes_logits_to_keep else range(max(ends) + 1)
        # Padded with the prompt's last token: some models treat a padding token differently.
        padded = [
            [*context[begin:], *[context[-1]] * (max(ends) - end)]
            for context, end in zip(contexts, ends, strict=True)
        ]
        logits = self._pass(padded, cache, kept)
        prompts = []
        for row, (context, end) in enumerate(zip(contexts, ends, strict=True)):
            own = DynamicCache(config=self._model.config)
            for i, layer in enumerate(cache.layers):
                own.update(
                    layer.keys[row : row + 1, :, : len(context)],
                    layer.values[row : row + 1, :, : len(context)],
                    i,
                )
            prompts.append(Prompt(len(context), logits[row, kept.index(end)].clone(), own))
        return prompts

    def _pass(
        self, ids: Sequence[Sequence[int]], cache: Any, kept: Sequence[int] | None = None
    ) -> torch.Tensor:
        """Feeds tokens of equally long rows.

        Args:
            ids: the tokens of each row.
            cache: the cache of transformers; `None` for none.
            kept: the places of the tokens whose logits are needed; by default the last one.

        Returns:
            The logits [rows, places, vocabulary]; those of all tokens if the model can't leave any out.
        """
        device = self._model.device
        tensor = torch.tensor([list(row) for row in ids], dtype=torch.long, device=device)
        keep: dict[str, Any] = {}
        if self._takes_logits_to_keep:
            keep["logits_to_keep"] = 1 if kept is None else torch.tensor(kept, device=device)
        use = {"use_cache": False} if cache is None else {"past_key_values": cache, "use_cache": True}
        logits: torch.Tensor = self._model(input_ids=tensor, **use, **keep).logits
        return logits


def _is_plain(cache: Any) -> bool:
    """Whether each layer holds the keys and values of all tokens."""
    return len(cache.layers) > 0 and all(type(layer) is DynamicLayer for layer in cache.layers)


def _common_blocks(contexts: Sequence[Sequence[int]], block: int) -> int:
    """Returns the length of the contexts' common beginning, in whole blocks; a token of each is left."""
    alike = itertools.takewhile(lambda tokens: len(set(tokens)) == 1, zip(*contexts, strict=False))
    longest = min(sum(1 for _ in alike), min(map(len, contexts)) - 1)
    return longest // block * block
