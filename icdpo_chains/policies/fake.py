"""`FakePolicy`: a tiny deterministic policy for tests, with no weights and no download."""

from __future__ import annotations

import copy
import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from icdpo_chains.foundation.process_local import ProcessLocal
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.policies.policy import check_fits
from icdpo_chains.policies.sampling import MAX_CANDIDATES, Sample, SampleRequest, SamplingParams

if TYPE_CHECKING:
    import torch

    from icdpo_chains.policies.guidance import Step

__all__ = ["FakePolicy", "byte_tokenizer"]

_TOOLS = (
    "{% if tools %}"
    "{{ '<|im_start|>system\nTools:\n' }}"
    "{% for tool in tools %}{{ tool | tojson + '\n' }}{% endfor %}"
    "{{ '<|im_end|>\n' }}"
    "{% endif %}"
)
_CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


class FakePolicy(ProcessLocal):
    """A bigram model of its own context, over the bytes of UTF-8.

    The more often a pair of bytes occurs in the context, the likelier the second byte follows the first.
    Demonstrations therefore make similar answers likelier, as with a real model, and the instant scorer
    prefers such answers. Log-probabilities are exact and the same at every call.

    Args:
        responses: the answers to return in turn, repeated from the start when used up, for any context; or a
            function that returns such answers for the context's text. Without responses, candidates are
            sampled from the bigram model.
        max_context: the maximum number of tokens (bytes and control tokens) of context and answer together.
        name: the name in results.
        chat: give the tokenizer a chat template (ChatML).
        tools: let the template show tools.
    """

    closes_thoughts = True
    """Whether the policy carries out `max_thinking_tokens`."""

    def __init__(
        self,
        responses: Sequence[str] | Callable[[str], Sequence[str]] = (),
        *,
        max_context: int | None = None,
        name: str = "fake",
        chat: bool = True,
        tools: bool = False,
    ) -> None:
        self.name = name
        self.max_context = max_context
        self.tokenizer: Any = byte_tokenizer(chat=chat, tools=tools)
        # `split_special_tokens` is a state of a tokenizer: other threads must not meet it in the shared one.
        self._text_tokenizer = _splitting_tokenizer()
        self.eos_token_ids: frozenset[int] = frozenset({self.tokenizer.eos_token_id})
        self._respond = responses if callable(responses) else None
        self._responses = itertools.cycle(responses) if responses and not callable(responses) else None
        self._lock = threading.Lock()

    def sample(self, context: Sequence[int], n: int, sampling: SamplingParams) -> list[Sample]:
        """Returns the next n responses, or samples from the bigram model. See `Policy.sample`."""
        check_count(n, "n", MAX_CANDIDATES)
        check_fits(self, context, sampling.max_new_tokens)
        if sampling.guided:
            return self.sample_batch([SampleRequest(context, n, sampling)])[0]
        responses = self._responses
        if self._respond is not None:
            responses = itertools.cycle(self._respond(self.tokenizer.decode(context)))
        if responses is None:
            return self._sampled(SampleRequest(context, n, sampling))
        with self._lock:
            texts = list(itertools.islice(responses, n))
        return [self._given(context, text, sampling) for text in texts]

    def sample_batch(self, requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        """Samples for each context in turn; the bigram model supports guided decoding. See `BatchPolicy`."""
        results = []
        for request in requests:
            if not request.sampling.guided:
                count = request.first + request.n
                samples = self.sample(request.context, count, request.sampling)[request.first :]
                self._stream(request, samples)
                if request.on_ended is not None:
                    for _ in samples:
                        request.on_ended()
                results.append(samples)
                continue
            if self._respond is not None or self._responses is not None:
                raise ValueError(
                    "decoding='guided' chooses among the model's tokens, and this FakePolicy returns fixed "
                    "responses: build it without responses, or use decoding='sample'"
                )
            check_count(request.n, "n", MAX_CANDIDATES)
            check_fits(self, request.context, request.sampling.max_new_tokens)
            check_fits(self, request.contrast, request.sampling.max_new_tokens)
            results.append(self._sampled(request))
        return results

    def _stream(self, request: SampleRequest, samples: Sequence[Sample]) -> None:
        from icdpo_chains.policies.decoding import Row

        if request.stream is not None:
            row = Row(self.tokenizer, request, 0)
            for token in samples[0].token_ids:
                row.append(token, ended=token in self.eos_token_ids)

    def logprobs(self, context: Sequence[int], continuations: Sequence[Sequence[int]]) -> list[list[float]]:
        """Returns the bigram model's log-probabilities. See `Policy.logprobs`."""
        check_fits(self, context, max(map(len, continuations), default=0))
        table = self._log_probabilities(context)
        return [
            [float(table[before][token]) for before, token in zip([context[-1], *ids], ids, strict=False)]
            for ids in continuations
        ]

    def _given(self, context: Sequence[int], text: str, sampling: SamplingParams) -> Sample:
        end = self.tokenizer.eos_token_id
        begin = 0 if sampling.reasoning is None else sampling.reasoning.answer_start(text)
        stops = (
            sampling.stop if begin is not None else ()
        )  # a stop string in a thought does not end the answer
        cuts = [at for at in (text.find(stop, begin) for stop in stops) if at >= 0]
        ids = self._text_tokenizer(
            text[: min(cuts)] if cuts else text, add_special_tokens=False, split_special_tokens=True
        ).input_ids
        ids = [*_within_budget(ids, sampling, self.tokenizer), *([] if cuts else [end])]
        finished = len(ids) <= sampling.max_new_tokens
        ids = ids[: sampling.max_new_tokens]
        shown = self.tokenizer.decode(ids, skip_special_tokens=True)
        logprobs = self.logprobs(context, [ids])[0]
        return Sample(tuple(ids), tuple(logprobs), shown, "stop" if finished else "length")

    def _sampled(self, request: SampleRequest) -> list[Sample]:
        from icdpo_chains.policies.decoding import decode
        from icdpo_chains.policies.guidance import Guidance

        first, step = self._steps(request.context)
        guidance = None
        if request.sampling.guided:
            first_contrast, contrast_step = self._steps(request.contrast)
            guidance = Guidance([first_contrast], contrast_step, [request])
        (samples,) = decode(
            [first],
            step,
            [request],
            eos_token_ids=self.eos_token_ids,
            tokenizer=self.tokenizer,
            guidance=guidance,
        )
        return samples

    def _steps(self, context: Sequence[int]) -> tuple[torch.Tensor, Step]:
        """Returns the logits [vocabulary] that follow a context, and the step that continues it."""
        import torch

        table = self._log_probabilities(context)

        def step(tokens: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
            return torch.from_numpy(np.stack([table[token] for token in tokens.tolist()]))

        return torch.from_numpy(table[context[-1]].copy()), step

    def _log_probabilities(self, context: Sequence[int]) -> defaultdict[int, np.ndarray]:
        """For each token, float32 [vocabulary]: add-0.01 smoothed counts of its successors."""
        size = len(self.tokenizer)
        counts: defaultdict[int, np.ndarray] = defaultdict(lambda: np.full(size, 0.01))
        for before, token in itertools.pairwise(context):
            counts[before][token] += 1
        unseen = np.log(np.full(size, 1 / size)).astype(np.float32)
        table: defaultdict[int, np.ndarray] = defaultdict(lambda: unseen)
        for before, row in counts.items():
            table[before] = np.log(row / row.sum()).astype(np.float32)
        return table


def _within_budget(ids: list[int], sampling: SamplingParams, tokenizer: Any) -> list[int]:
    """The ids with a thought that is not longer than `max_thinking_tokens`."""
    reader, most = sampling.reasoning, sampling.max_thinking_tokens
    if reader is None or most is None or len(ids) <= most:
        return ids
    if reader.thought_tokens(ids[:most], tokenizer, ended=False) is not None:
        return ids
    thought = reader.thought_tokens(ids, tokenizer)
    answer = [] if thought is None else ids[thought:]
    return [*ids[:most], *reader.closing_ids(ids[:most], tokenizer), *answer]


@cache
def _splitting_tokenizer() -> Any:
    return copy.deepcopy(byte_tokenizer(chat=False))


@cache
def byte_tokenizer(*, chat: bool = True, tools: bool = False) -> Any:
    """Returns a Hugging Face tokenizer whose tokens are the 256 bytes and ChatML's control tokens.

    Args:
        chat: add a chat template.
        tools: let the template show tools.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    controls = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    backend.add_special_tokens([AddedToken(control, special=True) for control in controls])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=_TOOLS * tools + _CHATML if chat else None,
        clean_up_tokenization_spaces=False,
    )
