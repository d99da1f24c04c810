import math
from collections.abc import Callable

import pytest
import torch

from icdpo_chains.errors import PolicyError
from icdpo_chains.policies.decoding import decode
from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.sampling import Sample, SampleRequest, SamplingParams


def spell(
    texts: list[str], sampling: SamplingParams, on_ended: Callable[[], None] | None = None
) -> list[Sample]:
    """Decodes with a model that spells out one text a row, then ends; checks what it is fed."""
    tokenizer = byte_tokenizer()
    scripts = [[*text.encode("utf-8"), None] for text in texts]
    ids = [[tokenizer(text, add_special_tokens=False).input_ids, tokenizer.eos_token_id] for text in texts]
    scripts = [[*text_ids, end] for text_ids, end in ids]
    live = list(range(len(texts)))
    position = 0

    def logits_now() -> torch.Tensor:
        logits = torch.full((len(live), len(tokenizer)), -50.0)
        for row, script in enumerate(live):
            logits[row, scripts[script][position]] = 0.0
        return logits

    def step(tokens: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
        nonlocal live, position
        if kept is not None:
            live = [live[i] for i in kept.tolist()]
        assert tokens.tolist() == [scripts[script][position] for script in live]
        position += 1
        return logits_now()

    first = logits_now()
    assert (first == first[0]).all(), "the texts have to begin alike"
    (samples,) = decode(
        [first[0]],
        step,
        [SampleRequest([1], len(texts), sampling, on_ended=on_ended)],
        eos_token_ids={tokenizer.eos_token_id},
        tokenizer=tokenizer,
    )
    return samples


def test_rows_that_end_leave_and_the_others_go_on() -> None:
    texts = ["a", "a longer text", "a b", "a longer one"]
    samples = spell(texts, SamplingParams(max_new_tokens=50))
    assert [sample.text for sample in samples] == texts
    assert {sample.finish_reason for sample in samples} == {"stop"}
    for sample, text in zip(samples, texts, strict=True):
        assert len(sample.token_ids) == len(sample.logprobs) == len(text) + 1


def test_each_row_that_ends_is_told() -> None:
    """Whether it ends by itself, by a stop string, or at the length limit."""
    ended: list[int] = []
    texts = ["a", "abc", "abcdefgh", "ab.c"]
    spell(texts, SamplingParams(max_new_tokens=5, stop=(".",)), lambda: ended.append(1))
    assert len(ended) == len(texts)


def test_the_length_limit_cuts() -> None:
    (sample,) = spell(["abcdef"], SamplingParams(max_new_tokens=3))
    assert (sample.text, sample.finish_reason, len(sample.token_ids)) == ("abc", "length", 3)


@pytest.mark.parametrize(
    ("text", "stop", "expected", "tokens"),
    [
        ("first\nUser: second", ("\nUser:",), "first", 5),
        ("one two three", ("three", "two"), "one ", 4),
        ("stop", ("stop",), "", 0),
        ("no match here", ("##",), "no match here", 14),
        ("größer als", ("ß",), "grö", 4),
    ],
)
def test_stop_strings_cut_text_and_tokens_alike(text, stop, expected, tokens) -> None:
    (sample,) = spell([text], SamplingParams(max_new_tokens=60, stop=stop))
    assert sample.text == expected
    assert sample.finish_reason == "stop"
    assert len(sample.token_ids) == len(sample.logprobs) == tokens


def test_a_stop_string_in_one_row_does_not_stop_the_others() -> None:
    samples = spell(["a.b", "abc"], SamplingParams(max_new_tokens=9, stop=(".",)))
    assert [sample.text for sample in samples] == ["a", "abc"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("temperature", [0, 1])
def test_logits_that_are_no_numbers_are_refused_whenever_they_come(value: float, temperature: float) -> None:
    tokenizer = byte_tokenizer()
    fine = torch.zeros(len(tokenizer))

    def step(tokens: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
        return torch.where(torch.arange(len(tokenizer)) == 7, value, fine).expand(len(tokens), -1)

    request = SampleRequest([1], 2, SamplingParams(temperature=temperature, seed=1))
    with pytest.raises(PolicyError, match="NaN"):
        decode([fine], step, [request], eos_token_ids=set(), tokenizer=tokenizer)
