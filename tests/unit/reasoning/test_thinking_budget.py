"""`max_thinking_tokens`: a thought that is too long is closed; its forced tokens are not scored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from icdpo_chains import ICDPO, Demonstration, FakePolicy, FixedDemonstrations, SamplingParams
from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.sampling import SampleRequest
from icdpo_chains.reasoning.tags import THINK, ReasoningTags
from icdpo_chains.reasoning.thoughts import ThoughtReader
from tests.unit.policies.conftest import tiny_policy

from ..fake_core import DEMONSTRATIONS, KIND, RUDE, make_core
from ..test_reasoning import opening_policy

CLOSING = tuple(byte_tokenizer()("\n</think>\n\n").input_ids)
OPENED = ThoughtReader(opened=THINK)
SAMPLING = SamplingParams(max_new_tokens=60, seed=5, reasoning=OPENED)
CONTEXT = byte_tokenizer()("What do I think? <think>\nWell, I think and think and think.").input_ids


def policies() -> list[Any]:
    return [FakePolicy(), tiny_policy("llama")]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("decoding", ["sample", "guided"])
def test_the_thought_is_closed_behind_its_budget(number: int, decoding: Any) -> None:
    policy = policies()[number]
    closing = tuple(policy.tokenizer("\n</think>\n\n", add_special_tokens=False).input_ids)
    context = policy.tokenizer("What do I think? <think>\nWell, I think and think.").input_ids
    free, limited = (
        policy.sample_batch(
            [
                SampleRequest(
                    context,
                    3,
                    replace(SAMPLING, max_thinking_tokens=budget, decoding=decoding),
                    contrast=context[: len(context) // 2],
                )
            ]
        )[0]
        for budget in (None, 10)
    )
    assert any(OPENED.thought_tokens(sample.token_ids, policy.tokenizer) is None for sample in free)
    for without, sample in zip(free, limited, strict=True):
        if len(without.token_ids) <= 10:
            assert sample.token_ids == without.token_ids
            continue
        assert sample.token_ids[:10] == without.token_ids[:10]  # the budget changes nothing before its end
        assert sample.token_ids[10 : 10 + len(closing)] == closing
        # The log-probabilities, those of forced tokens included, are the model's own.
        (expected,) = policy.logprobs(context, [sample.token_ids])
        assert sample.logprobs == pytest.approx(expected, abs=2e-3)


def test_a_row_is_the_same_alone_and_in_a_batch() -> None:
    policy = FakePolicy()
    limited = replace(SAMPLING, max_thinking_tokens=10)
    together = policy.sample_batch(
        [SampleRequest(CONTEXT, 2, limited), SampleRequest(CONTEXT, 2, SAMPLING)],
    )
    assert together[0] == policy.sample(CONTEXT, 2, limited)
    assert together[1] == policy.sample(CONTEXT, 2, SAMPLING)


def test_an_answer_without_a_thought_and_a_short_thought_are_left_alone() -> None:
    limited = SamplingParams(max_new_tokens=300, max_thinking_tokens=20)
    short = f"<think>Hm.</think>\n\n{KIND}"
    result = make_core((KIND, short), sampling=limited).generate("My bike broke.")
    free = make_core((KIND, short), sampling=replace(limited, max_thinking_tokens=None))
    assert result.candidates == free.generate("My bike broke.").candidates


def test_a_thought_without_end_gets_an_answer() -> None:
    limited = SamplingParams(max_new_tokens=300, max_thinking_tokens=40)
    result = make_core((f"<think>{RUDE * 50}</think>{KIND}",), n=1, sampling=limited).generate("Hm?")
    assert result.text == KIND
    assert result.best.reasoning is not None
    assert result.best.reasoning_tokens == 40 + len(CLOSING)
    assert len(result.best.token_scores) == result.best.num_tokens


def test_a_streamed_answer_is_the_same() -> None:
    core = ICDPO(
        opening_policy(),
        FixedDemonstrations(DEMONSTRATIONS, k=1),
        n=1,
        sampling=SamplingParams(max_new_tokens=80, max_thinking_tokens=10),
    )
    whole = core.generate("Hm?", seed=3)
    chunks = list(core.stream("Hm?", seed=3))
    assert chunks[-1].result is not None
    assert chunks[-1].result.candidates == whole.candidates
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert whole.best.reasoning_tokens >= 10 + len(CLOSING)


def test_the_tag_that_closes_is_that_of_the_thought() -> None:
    tokenizer = byte_tokenizer()
    channel = ReasoningTags("<|channel|>analysis<|message|>", "<|channel|>final<|message|>")
    for tags, closing in (
        (ReasoningTags("[THINK]", "[/THINK]"), "\n[/THINK]\n\n"),
        (channel, "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ):
        reader = ThoughtReader((THINK, tags))
        begun = tokenizer(f"{tags.opening}Hm", add_special_tokens=False).input_ids
        assert tokenizer.decode(reader.closing_ids(begun, tokenizer)) == closing


def test_what_can_not_be_limited_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves no room for an answer in 50"):
        SamplingParams(max_new_tokens=50, max_thinking_tokens=50)
    for wrong in (0, -1, True, 2.0):
        with pytest.raises((TypeError, ValueError), match="max_thinking_tokens"):
            SamplingParams(max_thinking_tokens=wrong)  # type: ignore[arg-type]

    class Other(FakePolicy):
        closes_thoughts = False

    core = ICDPO(Other([KIND]), FixedDemonstrations([Demonstration("q", "a", "b")]), n=1)
    with pytest.raises(ValueError, match="needs a policy that can close a thought"):
        core.generate("?", sampling=SamplingParams(max_thinking_tokens=10))
