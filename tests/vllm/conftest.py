"""One vLLM server for all tests of this directory, and policies on it. See `make test-vllm`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from icdpo_chains import Demonstration, TransformersPolicy, starter_demonstrations
from icdpo_chains.packaged_models.catalog import DEFAULT_MODEL, resolve
from icdpo_chains.policies.vllm.policy import VLLMPolicy

from .server import API_KEY, RunningVLLM


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningVLLM]:
    """The server, killed at the end with all its processes."""
    python = os.environ.get("VLLM_PYTHON")
    if not python:
        pytest.skip("VLLM_PYTHON names no interpreter with vLLM: see `make test-vllm`")
    log = tmp_path_factory.mktemp("vllm") / "vllm.log"
    server = RunningVLLM(python, Path(resolve(DEFAULT_MODEL)), log)
    try:
        server.start()
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def policy(vllm: RunningVLLM) -> Iterator[VLLMPolicy]:
    """The policy, with the only model that there is, and the tokenizer that the server names."""
    with VLLMPolicy(vllm.url, api_key=API_KEY) as policy:
        yield policy


@pytest.fixture(scope="session")
def float32() -> TransformersPolicy:
    """The same model in this process, exactly."""
    return TransformersPolicy.from_pretrained(dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def bfloat16() -> TransformersPolicy:
    """The same model in this process, in the server's own precision."""
    return TransformersPolicy.from_pretrained(dtype="bfloat16", device="cpu")


@pytest.fixture(scope="session")
def demonstrations() -> list[Demonstration]:
    """Some with rejected answers."""
    return [item for item in starter_demonstrations() if item.rejected][:8]
