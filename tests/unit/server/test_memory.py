"""A device that is too small for one question: the server answers the others, and goes on."""

import asyncio
from typing import Any

import pytest
import torch

from icdpo_chains import ICDPO, FixedDemonstrations, SamplingParams
from icdpo_chains.policies.transformers.policy import TransformersPolicy
from tests.unit.fake_core import DEMONSTRATIONS
from tests.unit.policies.conftest import tiny_policy
from tests.unit.server.client import make_client

CHAT = "/v1/chat/completions"


def asked(text: str, **options: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "seed": 1, "max_tokens": 6, **options}


@pytest.mark.slow
async def test_the_queue_goes_on(monkeypatch: Any) -> None:
    monkeypatch.setattr("icdpo_chains.policies.transformers.device_memory.release_unused", lambda: None)
    tiny = tiny_policy("llama")
    policy = TransformersPolicy(tiny.model, tiny.tokenizer, prefix_cache=0)
    core = ICDPO(policy, FixedDemonstrations(DEMONSTRATIONS, k=1), n=3, sampling=SamplingParams())
    long = "Why? Say it."
    limit = len(
        core.ask(long, core.retrieve(long), sampling=SamplingParams(max_new_tokens=6)).request.context
    )

    def look(module: object, args: object, kwargs: dict[str, Any]) -> None:
        rows, tokens = kwargs["input_ids"].shape
        if rows > 2 or tokens >= limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    async with make_client(core) as client:
        twin = (await client.post(CHAT, json=asked("Why?"))).json()["choices"][0]["message"]["content"]
        hook = policy.model.register_forward_pre_hook(look, with_kwargs=True)
        try:
            for stream in (False, True):
                texts = ["Why?", long, "Where?", "Why?"]
                posts = [client.post(CHAT, json=asked(text, stream=stream)) for text in texts]
                first, refused, second, third = await asyncio.gather(*posts)
                assert [first.status_code, second.status_code, third.status_code] == [200, 200, 200]
                assert refused.status_code == 503
                error = refused.json()["error"]
                assert (error["code"], error["type"]) == ("out_of_memory", "server_error")
                assert "max_tokens" in error["message"]
                assert client.app.state.service.queue.taken == 0  # type: ignore[attr-defined]
                if not stream:
                    assert first.json()["choices"][0]["message"]["content"] == twin
        finally:
            hook.remove()
        assert (await client.post(CHAT, json=asked(long))).status_code == 200
