"""An option of `ICDPOConfig` can be given everywhere: on the command line, to ChatICDPO and to ICDPOLLM."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import pytest

from icdpo_chains.cli.config_options import shared_options
from icdpo_chains.config import ICDPOConfig, SamplingConfig
from icdpo_chains.framework_settings import CALL_SETTINGS, ICDPOSettings
from icdpo_chains.policies.sampling import SamplingParams

from .fake_core import make_core

OPTIONS = {*ICDPOConfig.model_fields, *SamplingConfig.model_fields} - {"sampling", "note"}

ONLY_IN_A_FILE = {"instructions", "pool", "retriever"}
"""What `icdpo tune` finds, and what takes more than a line."""

NOT_ON_THE_COMMAND_LINE = ONLY_IN_A_FILE | {"repetition_penalty", "revision", "stop", "top_k"}
NOT_IN_THE_INTEGRATIONS = ONLY_IN_A_FILE | {"min_bm25", "min_similarity", "substitute", "vllm"}
"""The integrations take `config=`, or an ICDPO."""

NOT_IN_A_FILE = {"min_new_tokens", "reasoning"}
"""`min_new_tokens` follows from the longest answer; `ICDPO` sets `reasoning` for each context."""
NOT_IN_A_REQUEST = {"reasoning"}


def test_a_file_has_every_parameter_of_sampling() -> None:
    parameters = {field.name for field in fields(SamplingParams)} - NOT_IN_A_FILE
    assert {"max_new_tokens", *SamplingConfig.model_fields} - {"max_tokens"} == parameters


REQUEST: dict[str, Any] = {
    "max_new_tokens": {"max_tokens": 33},
    "min_new_tokens": {"min_tokens": 5},
    "temperature": {"temperature": 0.3},
    "top_p": {"top_p": 0.3},
    "top_k": {"top_k": 7},
    "repetition_penalty": {"repetition_penalty": 1.7},
    "stop": {"stop": "END"},
    "seed": {"seed": 11},
    "decoding": {"icdpo": {"decoding": "guided"}},
    "guidance": {"icdpo": {"guidance": 3.0}},
    "alpha": {"icdpo": {"alpha": 0.3}},
    "max_thinking_tokens": {"icdpo": {"max_thinking_tokens": 9}},
}
"""For each parameter of sampling, a request that changes it."""


def test_a_request_to_the_server_has_every_parameter_of_sampling() -> None:
    assert {*REQUEST} == {field.name for field in fields(SamplingParams)} - NOT_IN_A_REQUEST


@pytest.mark.parametrize("name", REQUEST)
def test_a_request_changes_the_parameter(name: str) -> None:
    from icdpo_chains.server import create_app
    from icdpo_chains.server.generation import generation_options
    from icdpo_chains.server.protocol.requests import GenerationRequest

    core = make_core()
    service = create_app(core).state.service
    options = generation_options(service, GenerationRequest(**REQUEST[name]))
    # `ICDPO.generate` takes the seed as an option of its own.
    found = options["seed"] if name == "seed" else getattr(options["sampling"], name)
    assert found != getattr(core.sampling, name)


def test_the_command_line_has_every_option() -> None:
    known = {option.name for option in shared_options()} - {"config"}
    assert known == OPTIONS - NOT_ON_THE_COMMAND_LINE


def test_the_integrations_have_every_option() -> None:
    known = {*ICDPOSettings.model_fields} - {"config", "icdpo", "min_tokens"}
    assert known == OPTIONS - NOT_IN_THE_INTEGRATIONS


def test_a_call_may_change_every_option_of_sampling_and_of_the_chat_template() -> None:
    others = {"n", "k", "finalists", "min_tokens", "chat_template_kwargs", "thinking"}
    assert {*SamplingConfig.model_fields, *others} == {*CALL_SETTINGS}


def test_the_defaults_are_the_same_everywhere() -> None:
    from icdpo_chains import ICDPO

    config = ICDPOConfig()
    plain = {**config.model_dump(), **config.sampling.model_dump()}
    for option in shared_options():
        if option.name != "config":
            assert option.default == plain[option.name], option.name
    for name, parameter in inspect.signature(ICDPO.from_defaults).parameters.items():
        if name != "sampling":
            assert parameter.default == plain[name], name


@pytest.mark.parametrize("name", ["revision", "against", "aggregate", "dtype", "device", "engine"])
def test_the_integrations_build_with_the_same_defaults(name: str) -> None:
    assert ICDPOSettings.model_fields[name].default == ICDPOConfig.model_fields[name].default
