"""`VLLMPolicy`: a model on a vLLM server, on any number of GPUs and nodes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from icdpo_chains.errors import PolicyError
from icdpo_chains.foundation import environment
from icdpo_chains.foundation.process_local import ProcessLocal
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.policies.decoding import Row
from icdpo_chains.policies.policy import ScoreRequest, check_fits
from icdpo_chains.policies.sampling import MAX_CANDIDATES, Sample, SampleRequest, SamplingParams
from icdpo_chains.policies.vllm.server import VLLMServer
from icdpo_chains.reasoning.tags import known_tags

if TYPE_CHECKING:
    import httpx

__all__ = ["VLLMPolicy"]

_COMPLETIONS = "v1/completions"
_FIRST_CONTACT = 5.0  # seconds: a mistyped address must be reported soon
_LEAST_LOGPROB = -9999.0  # vLLM's substitute for -infinity, which JSON does not have
# vLLM takes parameters missing in a request from the model's generation_config.json.
_NEUTRAL = {"min_p": 0.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}


class VLLMPolicy(ProcessLocal):
    """A model on vLLM's OpenAI-compatible server. Thread-safe; vLLM batches concurrent requests.

    Candidates and scores equal those of `TransformersPolicy` up to arithmetic: bfloat16 kernels, and batches
    of different sizes, differ by some hundredths of a nat per token (measured: 0.03 from float32 on average,
    0.22 at most). A seed therefore reproduces its candidates, and a smaller n gives the first of them, unless
    such a difference tips a choice; with `VLLM_BATCH_INVARIANT=1`, on GPUs that support it, both always hold.
    A seed's candidates differ from those of `TransformersPolicy`.

    Sampling uses the server's prefix cache, so the context is read once for n candidates. Scoring does not:
    vLLM uses no cache for log-probabilities of the prompt, and each continuation costs its whole context
    again. `finalists` has no effect: all candidates are sampled to their end. Guided decoding raises an
    error, because the server chooses the tokens.

    vLLM's own limits apply: temperatures are from 0 to 2, and a temperature below 0.01 counts as 0.01.

    Args:
        base_url: the server's address, such as `http://localhost:8000`, with or without `/v1`.
        model: the model's name on the server; `None` for the server's only model.
        api_key: the server's API key; by default the environment's `VLLM_API_KEY`.
        tokenizer: the model's Hugging Face tokenizer, or its name or path; by default found from the server's
            description of the model. It must be the server's tokenizer, which is checked.
        timeout: the longest time for one answer, in seconds.
        max_in_flight: the maximum number of concurrent requests; others wait in this process.
        retry_for: how long a request is retried while the server is unavailable or overloaded, in seconds; at
            most 5 for the first request, made by the constructor.
        name: the name in results; by default the model's name on the server.
        transport: replaces the network in tests.

    Attributes:
        name, tokenizer, eos_token_ids, max_context: see `Policy`.

    Raises:
        PolicyError: the server does not have the model, its tokenizer can't be loaded, the API key is wrong,
            or the server's log-probabilities are not those of the model's own distribution.
        PolicyUnavailableError: the server can't be reached.
        TokenizerMismatch: the server's model has a different tokenizer.
        ValueError: an argument is invalid.
    """

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        api_key: str | None = None,
        *,
        tokenizer: Any = None,
        timeout: float = 600.0,
        max_in_flight: int = 64,
        retry_for: float = 60.0,
        name: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        from icdpo_chains.policies.vllm.checks import check_logprobs, check_tokenizer, load_tokenizer

        self._retry_for = retry_for
        self._server = VLLMServer(
            base_url,
            api_key or environment.vllm_key(),
            timeout=timeout,
            max_in_flight=max_in_flight,
            retry_for=retry_for,
            transport=transport,
        )
        try:
            card = self._find(model)
            self._model = str(card["id"])
            self.name = name or self._model
            limit = card.get("max_model_len")
            self.max_context: int | None = None if limit is None else int(limit)
            self.tokenizer, self.eos_token_ids = load_tokenizer(tokenizer, card)
            self._thinks = bool(known_tags(self.tokenizer))
            check_tokenizer(self._server, self._model, self.tokenizer)
            check_logprobs(self, self.url)
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """Where the server listens."""
        return self._server.url

    def sample(self, context: Sequence[int], n: int, sampling: SamplingParams) -> list[Sample]:
        """Samples n continuations. See `Policy.sample`, and the class for the meaning of a seed."""
        return self.sample_batch([SampleRequest(context, n, sampling)])[0]

    def sample_batch(self, requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        """Samples for several contexts with concurrent requests.

        Args:
            requests: the contexts, and the continuations to sample for each.

        Raises:
            CancelledError: the event in `cancellation` was set; the server stops sampling too.
            PolicyError: the server refuses a request, or can't be reached.
            ValueError: see `Policy.sample`. Nothing is sampled then.
        """
        for request in requests:
            check_count(request.n, "n", MAX_CANDIDATES)
            check_fits(self, request.context, request.sampling.max_new_tokens)
            if request.sampling.guided:
                raise ValueError(
                    "decoding='guided' needs two contexts at each token, and a vLLM server reads one: use "
                    "decoding='sample', or the engine transformers or llama.cpp"
                )
        answers = self._server.ask(_COMPLETIONS, [self._sampling(request) for request in requests])
        return [self._samples(*pair) for pair in zip(requests, answers, strict=True)]

    def logprobs(self, context: Sequence[int], continuations: Sequence[Sequence[int]]) -> list[list[float]]:
        """Scores continuations with one concurrent request each. See `Policy.logprobs`.

        Raises:
            CancelledError, PolicyError: see `sample_batch`.
            ValueError: see `Policy.logprobs`.
        """
        return self.logprobs_batch([ScoreRequest(context, continuations)])[0]

    def logprobs_batch(self, requests: Sequence[ScoreRequest]) -> list[list[list[float]]]:
        """Scores the continuations of all contexts with one concurrent request each.

        Args:
            requests: the contexts and their continuations.

        Raises:
            CancelledError, PolicyError: see `sample_batch`.
            ValueError: see `Policy.logprobs`. Nothing is asked then.
        """
        for one in requests:
            check_fits(self, one.context, max(map(len, one.continuations), default=0))
        bodies = [self._scoring(one.context, ids) for one in requests for ids in one.continuations if ids]
        answers = iter(self._server.ask(_COMPLETIONS, bodies))
        return [
            [self._scores(one.context, ids, next(answers)) if ids else [] for ids in one.continuations]
            for one in requests
        ]

    def close(self) -> None:
        """Cancels the running requests and closes the connections. A later call opens them again."""
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _find(self, model: str | None) -> Mapping[str, Any]:
        """Returns the server's description of the model."""
        (listed,) = self._server.ask("v1/models", [None], retry_for=min(self._retry_for, _FIRST_CONTACT))
        try:
            cards = {str(card["id"]): card for card in listed["data"]}
        except (KeyError, TypeError):
            raise self._unknown_answer() from None
        if model is None and len(cards) == 1:
            return next(iter(cards.values()))
        if model is None or model not in cards:
            wanted = "none was named" if model is None else f"no model {model!r} is there"
            known = ", ".join(map(repr, cards)) or "none"
            raise PolicyError(f"{wanted}: give one of the models of the vLLM server at {self.url}: {known}")
        return cards[model]  # type: ignore[no-any-return]

    def _sampling(self, request: SampleRequest) -> dict[str, Any]:
        sampling = request.sampling
        return {
            "model": self._model,
            "prompt": list(request.context),
            # Greedy candidates are all the same, and vLLM returns only one.
            "n": request.n if sampling.temperature > 0 else 1,
            "seed": None if sampling.seed is None else _base_seed(sampling.seed) + request.first,
            "max_tokens": sampling.max_new_tokens,
            "min_tokens": sampling.min_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k or 0,
            "repetition_penalty": sampling.repetition_penalty,
            **_NEUTRAL,
            # vLLM would also stop inside a thought.
            "stop": () if sampling.reasoning is not None and self._thinks else sampling.stop,
            "stop_token_ids": sorted(self.eos_token_ids),
            "logprobs": 0,  # only of the sampled token
            "return_tokens_as_token_ids": True,
        }

    def _samples(self, request: SampleRequest, answer: Any) -> list[Sample]:
        request = replace(request, finalists=None, cancelled=None)
        try:
            choices = sorted(answer["choices"], key=lambda choice: choice["index"])
            samples = [self._replayed(request, i, choice) for i, choice in enumerate(choices)]
        except (KeyError, TypeError, ValueError):
            raise self._unknown_answer() from None
        if request.sampling.temperature == 0:
            samples *= request.n
        if len(samples) != request.n:
            raise self._unknown_answer()
        return samples

    def _replayed(self, request: SampleRequest, index: int, choice: Mapping[str, Any]) -> Sample:
        """Feeds vLLM's tokens to a `Row`, so that texts, ids and ends follow the same rules."""
        ids = [int(token.removeprefix("token_id:")) for token in choice["logprobs"]["tokens"]]
        stop = request.sampling.stop
        if stop and not any(text in self.tokenizer.decode(ids, skip_special_tokens=True) for text in stop):
            # Saves the check after each token.
            request = replace(request, sampling=replace(request.sampling, stop=()))
        row = Row(self.tokenizer, request, index, logprobs=list(choice["logprobs"]["token_logprobs"]))
        for token in ids:
            row.append(token, ended=token in self.eos_token_ids)
            if row.finished:
                break
        # The server may know more end tokens than the tokenizer.
        row.ended = row.ended or choice["finish_reason"] == "stop"
        return row.sample()

    def _scoring(self, context: Sequence[int], ids: Sequence[int]) -> dict[str, Any]:
        body = {
            "model": self._model,
            "prompt": [*context, *ids],
            "max_tokens": 1,  # vLLM's minimum
            "temperature": 0.0,
            "prompt_logprobs": 0,  # only of the prompt's own tokens
        }
        if len(context) + len(ids) == self.max_context:
            # There is no room for this token: the continuation's last token must be the sampled one.
            body["prompt"] = [*context, *ids[:-1]]
            body |= {"allowed_token_ids": [ids[-1]], "logprobs": 0}
        return body

    def _scores(self, context: Sequence[int], ids: Sequence[int], answer: Any) -> list[float]:
        try:
            (choice,) = answer["choices"]
            read = choice["prompt_logprobs"][len(context) :]
            values = [float(entry[str(token)]["logprob"]) for entry, token in zip(read, ids, strict=False)]
            if len(context) + len(ids) == self.max_context:
                values += map(float, choice["logprobs"]["token_logprobs"])
        except (KeyError, TypeError, ValueError):
            raise self._unknown_answer() from None
        if len(values) != len(ids):
            raise self._unknown_answer()
        return [value if value > _LEAST_LOGPROB else -math.inf for value in values]

    def _unknown_answer(self) -> PolicyError:
        return PolicyError(
            f"the server at {self.url} does not answer like vLLM (0.32 is known to work): check that a "
            "vLLM server of such a version runs there"
        )


def _base_seed(seed: int) -> int:
    """The seed of the first candidate; vLLM adds the candidate's number for the others.

    Spread over 62 bits, so that neighbouring seeds share no candidates and the sum stays within 63.
    """
    digest = hashlib.blake2b(seed.to_bytes(8, "big"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 2
