"""The form of settings."""

from typing import Any

import pytest

from icdpo_chains import ICDPOConfig
from icdpo_chains.config import SamplingConfig
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.ui.backend import Backend
from icdpo_chains.ui.form import FIELDS, FIXED, changes_of, values_of

NAMES = [item.name for item in FIELDS]


def form(backend: Backend, **changes: Any) -> list[Any]:
    values = dict(zip(NAMES, values_of(backend.settings), strict=True))
    assert values.keys() >= changes.keys()
    return list((values | changes).values())


def test_the_untouched_form_changes_nothing(backend: Backend) -> None:
    assert changes_of(backend, form(backend)) == {}


def test_what_browsers_send_becomes_settings(backend: Backend) -> None:
    values = form(
        backend,
        n=4.0,
        temperature="0.5",
        seed=" 9007199254740993 ",
        against="base",
        min_similarity="0.25",
        max_thinking_tokens="",
    )
    assert changes_of(backend, values) == {
        "n": 4,
        "temperature": 0.5,
        "seed": 2**53 + 1,
        "against": "base",
        "min_similarity": 0.25,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": None}, r"Candidates \(n\) is empty"),
        ({"n": 1.5}, "1.5, and must be a whole number"),
        ({"n": "many"}, "'many', and must be a number"),
        ({"n": True}, "True, and must be a number"),
        ({"temperature": float("nan")}, "must be a number"),
        ({"temperature": "inf"}, "must be a number"),
        ({"n": 0}, r"^Candidates \(n\) is 0"),
        ({"n": 40}, r"^Candidates \(n\) is 40, and the limit of this server is 32"),
        ({"max_tokens": 0}, "^Longest answer is 0, and must be from 1"),
        ({"max_tokens": 5000}, "^Longest answer is 5000, and the limit"),
        ({"seed": "-1"}, "^Seed is -1"),
        ({"temperature": -1}, "^Temperature is -1.0"),
        ({"top_p": 2}, "^Top p is 2"),
        ({"alpha": 2}, "^Alpha is 2"),
        ({"guidance": -1}, "^Guidance is -1"),
        ({"finalists": 0}, "^Finalists is 0"),
        ({"max_thinking_tokens": -1}, "^Longest thought is -1"),
        ({"min_similarity": 7}, "^Least similarity is 7"),
        ({"aggregate": "median"}, "^aggregate: .*median"),
        ({"temperature": [1]}, "must be a number"),
    ],
    ids=[
        *("empty", "half", "word", "bool", "nan", "inf", "zero", "above", "no-tokens", "too-many-tokens"),
        *("seed", "temperature", "top_p", "alpha", "guidance", "finalists", "thought", "similarity"),
        *("unknown", "list"),
    ],
)
def test_a_wrong_value_is_refused(backend: Backend, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        changes_of(backend, form(backend, **changes))


def test_each_setting_is_in_the_form_or_fixed_or_rare() -> None:
    """A new setting of `ICDPOConfig` needs a decision."""
    rare = {
        *("revision", "device_map", "max_memory", "quantization", "attn_implementation", "pool", "sampling"),
        *(
            "instructions",
            "chat_template_kwargs",
            "thinking",
            "reasoning_tags",
            "count_reasoning",
            "note",
            "top_k",
            "repetition_penalty",
            "stop",
        ),
    }
    settings = ICDPOConfig.model_fields.keys() | SamplingConfig.model_fields.keys()
    assert {*NAMES, *FIXED} | rare == settings
    assert not rare & {*NAMES, *FIXED}
