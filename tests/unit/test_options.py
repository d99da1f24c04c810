"""An option of `ICDPOConfig` can be given everywhere: on the command line, to ChatICDPO and to ICDPOLLM."""

from __future__ import annotations

import inspect

import pytest

from icdpo_chains.cli.config_options import shared_options
from icdpo_chains.config import ICDPOConfig, SamplingConfig
from icdpo_chains.framework_settings import CALL_SETTINGS, ICDPOSettings

OPTIONS = {*ICDPOConfig.model_fields, *SamplingConfig.model_fields} - {"sampling", "note"}

ONLY_IN_A_FILE = {"instructions", "pool", "retriever"}
"""What `icdpo tune` finds, and what takes more than a line."""

NOT_ON_THE_COMMAND_LINE = ONLY_IN_A_FILE | {"repetition_penalty", "revision", "stop", "top_k"}
NOT_IN_THE_INTEGRATIONS = ONLY_IN_A_FILE | {"min_bm25", "min_similarity", "substitute", "vllm"}
"""The integrations take `config=`, or an ICDPO."""


def test_the_command_line_has_every_option() -> None:
    known = {option.name for option in shared_options()} - {"config"}
    assert known == OPTIONS - NOT_ON_THE_COMMAND_LINE


def test_the_integrations_have_every_option() -> None:
    known = {*ICDPOSettings.model_fields} - {"config", "icdpo", "min_tokens"}
    assert known == OPTIONS - NOT_IN_THE_INTEGRATIONS


def test_a_call_may_change_every_option_of_sampling() -> None:
    assert {*SamplingConfig.model_fields, "n", "k", "finalists", "min_tokens", "chat_template_kwargs"} == {
        *CALL_SETTINGS
    }


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
