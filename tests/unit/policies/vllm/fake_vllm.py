"""A vLLM server in this process: its answers, as 0.32 gives them, computed from a bigram model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import httpx

from icdpo_chains.policies.fake import FakePolicy
from icdpo_chains.policies.sampling import SamplingParams

CORPUS = "I am sorry to hear that. Would you like to talk about it? I would be glad to help you. " * 3


class Bigram(FakePolicy):
    """A model whose probabilities are the same in every context, as far as a bigram goes."""

    def _log_probabilities(self, context: Sequence[int]) -> Any:
        corpus = self.tokenizer(CORPUS).input_ids
        return super()._log_probabilities([*corpus, self.tokenizer.eos_token_id])


class FakeVLLM(httpx.MockTransport):
    """The server.

    Args:
        max_model_len: its limit.
        models: the names that it serves its model under.
        mode: its `--logprobs-mode`.
    """

    def __init__(
        self,
        max_model_len: int = 4000,
        models: Sequence[str] = ("fake",),
        mode: str = "raw_logprobs",
        api_key: str | None = None,
    ) -> None:
        super().__init__(self.answer)
        self.max_model_len, self.models, self.mode, self.api_key = max_model_len, models, mode, api_key
        self.model = Bigram()
        self.bodies: list[dict[str, Any]] = []
        self.hold = False  # whether completions are never answered
        self.dropped = 0

    async def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        key = f"Bearer {self.api_key}"
        if path.startswith("/v1") and self.api_key and request.headers.get("Authorization") != key:
            return httpx.Response(401, json={"error": "Unauthorized"})
        if path == "/v1/models":
            cards = [
                {"id": name, "root": "/nowhere", "max_model_len": self.max_model_len} for name in self.models
            ]
            return httpx.Response(200, json={"object": "list", "data": cards})
        body = json.loads(request.content)
        if path == "/tokenize":
            return httpx.Response(200, json=self.tokenize(body))
        assert path == "/v1/completions"
        self.bodies.append(body)
        if self.hold:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.dropped += 1
                raise
        return httpx.Response(200, json={"object": "text_completion", "choices": self.complete(body)})

    def tokenize(self, body: dict[str, Any]) -> dict[str, Any]:
        ids = self.model.tokenizer(body["prompt"], add_special_tokens=body["add_special_tokens"]).input_ids
        return {"count": len(ids), "max_model_len": self.max_model_len, "tokens": ids}

    def complete(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        prompt = body["prompt"]
        assert len(prompt) + body["max_tokens"] <= self.max_model_len
        assert body["temperature"] > 0 or body.get("n", 1) == 1
        choices = []
        for i in range(body.get("n", 1)):
            ids, logprobs, reason = self.sample(body, i)
            choice: dict[str, Any] = {"index": i, "finish_reason": reason, "logprobs": None, "text": "unread"}
            if body.get("logprobs") is not None:
                if self.mode == "raw_logits":
                    logprobs = [value + 30 for value in logprobs]
                elif self.mode == "processed_logprobs":
                    logprobs = [value / max(body["temperature"], 0.01) for value in logprobs]
                tokens = [f"token_id:{token}" for token in ids]
                choice["logprobs"] = {"tokens": tokens, "token_logprobs": logprobs}
            choice["prompt_logprobs"] = None
            if body.get("prompt_logprobs") is not None:
                (read,) = self.model.logprobs(prompt[:1], [prompt[1:]])
                choice["prompt_logprobs"] = [
                    None,
                    *(
                        {
                            str(token): {
                                "logprob": max(value, -9999.0) + 30 * (self.mode == "raw_logits"),
                                "rank": 1,
                            }
                        }
                        for token, value in zip(prompt[1:], read, strict=True)
                    ),
                ]
            choices.append(choice)
        return choices[::-1]

    def sample(self, body: dict[str, Any], index: int) -> tuple[list[int], list[float], str]:
        """Token ids up to the one that completes a stop string, none of which is seen within `min_tokens`."""
        if allowed := body.get("allowed_token_ids"):
            return allowed, self.model.logprobs(body["prompt"], [allowed])[0], "length"
        sampling = SamplingParams(
            max_new_tokens=body["max_tokens"],
            min_new_tokens=body.get("min_tokens", 0),
            temperature=body["temperature"],
            top_p=body.get("top_p", 1.0),
            top_k=body.get("top_k") or None,
            repetition_penalty=body.get("repetition_penalty", 1.0),
            seed=None if body.get("seed") is None else body["seed"] + index,
        )
        (sample,) = self.model.sample(body["prompt"], 1, sampling)
        ids, logprobs = list(sample.token_ids), list(sample.logprobs)
        for count in range(body.get("min_tokens", 0) + 1, len(ids) + 1):
            text = self.model.tokenizer.decode(ids[:count], skip_special_tokens=True)
            if any(stop in text for stop in body.get("stop", ())):
                return ids[:count], logprobs[:count], "stop"
        return ids, logprobs, sample.finish_reason
