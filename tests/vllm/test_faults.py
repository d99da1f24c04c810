"""A server that is stuck, killed, and started again."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from icdpo_chains import SamplingParams
from icdpo_chains.errors import PolicyUnavailableError
from icdpo_chains.policies.vllm.policy import VLLMPolicy

from .server import API_KEY, RunningVLLM

CONTEXT = list(range(1000, 1400))
LONG = SamplingParams(max_new_tokens=600, min_new_tokens=600, seed=1)


def wait_until_running(vllm: RunningVLLM, least: int) -> None:
    for _ in range(600):
        if vllm.metric("vllm:num_requests_running") >= least:
            return
        time.sleep(0.1)
    raise AssertionError("the requests never began")


def test_a_server_that_is_stuck_is_an_error_in_time_and_works_again_after(vllm: RunningVLLM) -> None:
    with VLLMPolicy(vllm.url, api_key=API_KEY) as ready:
        ready._server.close()
        ready._server._timeout = 3
        vllm.signal(signal.SIGSTOP)
        try:
            with pytest.raises(PolicyUnavailableError, match=r"has not answered within 3 s.*longer timeout"):
                ready.sample(CONTEXT, 1, SamplingParams(max_new_tokens=2))
        finally:
            vllm.signal(signal.SIGCONT)
        ready._server.close()
        ready._server._timeout = 600
        assert len(ready.sample(CONTEXT, 1, SamplingParams(max_new_tokens=2))) == 1


def test_a_server_that_is_killed_and_started_again(vllm: RunningVLLM) -> None:
    """While it samples and while it scores: who has patience gets the answer, who has none an error."""
    patient = VLLMPolicy(vllm.url, api_key=API_KEY, retry_for=600)
    hasty = VLLMPolicy(vllm.url, api_key=API_KEY, retry_for=2)
    with patient, hasty, ThreadPoolExecutor(3) as threads:
        sampled = threads.submit(patient.sample, CONTEXT, 2, LONG)
        refused = threads.submit(hasty.sample, CONTEXT, 2, LONG)
        wait_until_running(vllm, 4)
        scored = threads.submit(patient.logprobs, CONTEXT, [CONTEXT * 3] * 12)
        time.sleep(1)
        assert not any(call.done() for call in (sampled, refused, scored))
        vllm.kill()
        try:
            with pytest.raises(
                PolicyUnavailableError, match=r"is unavailable after 2 s .*Check that it runs"
            ):
                refused.result(120)
            assert not any(call.done() for call in (sampled, scored))
        finally:
            vllm.start()
            vllm.wait()
        assert [len(sample.token_ids) for sample in sampled.result(600)] == [600, 600]
        assert [len(row) for row in scored.result(600)] == [1200] * 12
