"""ICDPO with a model that thinks: the answer alone counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from icdpo_chains import (
    ICDPO,
    Demonstration,
    FakePolicy,
    FixedDemonstrations,
    InstantScorer,
    Instructions,
    Message,
    ReasoningTags,
    SamplingParams,
)
from icdpo_chains.errors import NoCandidateError
from icdpo_chains.policies.decoding import Row
from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.sampling import SampleRequest
from icdpo_chains.reasoning.thoughts import ThoughtReader
from tests.unit.policies.conftest import tiny_policy

from .fake_core import DEMONSTRATIONS, KIND, RUDE, make_core

SLY, FAIR = f"<think>{KIND}</think>{RUDE}", f"<think>{RUDE}</think>\n\n{KIND}"


def test_a_kind_thought_does_not_save_a_rude_answer() -> None:
    result = make_core((SLY, FAIR)).generate("My bike broke.")
    assert (result.text, result.best.reasoning) == (KIND, RUDE)
    assert [item.text for item in result.candidates] == [KIND, RUDE]
    assert "<think>" not in str(result.score_table())
    counting = make_core((SLY, KIND), scorer=InstantScorer(count_reasoning=True)).generate("My bike broke.")
    (sly,) = (item for item in counting.candidates if item.text == RUDE)
    assert sly.num_tokens == len(byte_tokenizer()(SLY).input_ids) + 1, "the thought is scored with the answer"


def test_an_answer_is_scored_given_the_thought_as_by_an_uncached_pass() -> None:
    core = make_core((SLY, FAIR))
    result = core.generate("My bike broke.")
    contexts = core.ask("My bike broke.", result.demonstrations).contexts
    thoughts = {RUDE: f"<think>{KIND}</think>", KIND: f"<think>{RUDE}</think>\n\n"}
    for item in result.candidates:
        thought = core.policy.tokenizer(thoughts[item.text]).input_ids
        assert item.reasoning_tokens == len(thought)
        (expert,) = core.policy.logprobs([*contexts.chosen], [[*thought, *item.token_ids]])
        (contrast,) = core.policy.logprobs([*contexts.contrast], [[*thought, *item.token_ids]])
        pairs = zip(expert[len(thought) :], contrast[len(thought) :], strict=True)
        assert item.token_scores == pytest.approx([e - c for e, c in pairs], abs=1e-4)


def test_a_transformers_policy_scores_the_answer_given_the_thought() -> None:
    llama = tiny_policy("llama")
    options: dict[str, Any] = {
        "n": 4,
        "sampling": SamplingParams(max_new_tokens=40),
        "instructions": Instructions("Be kind.", "Be rude."),
    }
    shown = FixedDemonstrations([Demonstration("Hello.", "Welcome.", "Go away.")], k=1)
    text = ICDPO(llama, shown, **options).generate("My bike broke.", seed=3).text
    # This random model writes no tags: a part of its text serves as the closing one.
    tags = ReasoningTags("\x00nowhere", text[8:11])
    core = ICDPO(llama, shown, reasoning_tags=[tags], **options)
    result = core.generate("My bike broke.", seed=3)
    contexts = core.ask("My bike broke.", result.demonstrations).contexts
    sampled = {
        answer.token_ids for answer in core.sample("My bike broke.", result.demonstrations, seed=3).answers
    }
    thinking = [item for item in result.candidates if item.reasoning_tokens]
    assert thinking
    for item in thinking:
        (whole,) = (ids for ids in sampled if ids[item.reasoning_tokens :] == item.token_ids)
        thought = whole[: item.reasoning_tokens]
        (expert,) = llama.logprobs([*contexts.chosen, *thought], [item.token_ids])  # its own, uncached pass
        (contrast,) = llama.logprobs([*contexts.contrast, *thought], [item.token_ids])
        scores = [e - c for e, c in zip(expert, contrast, strict=True)]
        assert item.token_scores == pytest.approx(scores, abs=1e-4)


def test_an_unfinished_thought_comes_last() -> None:
    cut = f"<think>{KIND * 20}"
    result = make_core((cut, RUDE)).generate("My bike broke.")
    assert [item.text for item in result.candidates] == [RUDE, ""]
    assert result.candidates[1].reasoning is not None
    with pytest.raises(NoCandidateError, match="still thinking"):
        make_core((cut, cut)).generate("My bike broke.")


def test_a_stop_string_ends_an_answer_and_no_thought() -> None:
    sampling = SamplingParams(max_new_tokens=300, stop=("END",))
    core = make_core((f"<think>I write END soon.</think>{KIND}END{RUDE}",), n=1, sampling=sampling)
    best = core.generate("My bike broke.").best
    assert (best.text, best.reasoning) == (KIND, "I write END soon.")


def test_a_sampled_stop_string_ends_an_answer_and_no_thought() -> None:
    llama = tiny_policy("llama")
    context = llama.tokenizer("Say something. ").input_ids
    sampling = SamplingParams(max_new_tokens=60, seed=3)
    (plain,) = llama.sample(context, 1, sampling)
    closing = plain.text[10:12]
    stop = next(text for text in plain.text[12:] if text in plain.text[:10])  # stands in thought and answer
    reader = ThoughtReader(
        (ReasoningTags("\x00nowhere", closing),), opened=ReasoningTags("\x00nowhere", closing)
    )
    (sample,) = llama.sample(context, 1, replace(sampling, stop=(stop,), reasoning=reader))
    begin = plain.text.index(closing) + len(closing)
    assert sample.text == plain.text[: plain.text.index(stop, begin)]
    assert sample.finish_reason == "stop"


def test_no_candidate_is_rejected_for_its_thought() -> None:
    llama = tiny_policy("llama")
    tags = ReasoningTags("<think>", "</think>")
    context = llama.tokenizer("Say something. ").input_ids
    contrast = llama.tokenizer("Be rude. ").input_ids
    thinking = SamplingParams(max_new_tokens=32, seed=6, reasoning=ThoughtReader((tags,), opened=tags))
    (samples,) = llama.sample_batch([SampleRequest(context, 8, thinking, finalists=2, contrast=contrast)])
    assert all(sample.finish_reason == "length" for sample in samples)
    plain = SamplingParams(max_new_tokens=32, seed=6)
    (samples,) = llama.sample_batch([SampleRequest(context, 8, plain, finalists=2, contrast=contrast)])
    assert any(sample.finish_reason == "rejected" for sample in samples)


def test_given_answers_are_scored_without_their_thoughts() -> None:
    result = make_core().score("My bike broke.", [SLY, FAIR, "<think>Hm."])
    assert [(item.index, item.text) for item in result.candidates] == [(1, KIND), (0, RUDE), (2, "")]
    assert result.candidates[0].num_tokens == len(byte_tokenizer()(KIND).input_ids) + 1


def opening_policy(responses: Any = ()) -> FakePolicy:
    """A policy whose template opens the thought, as DeepSeek-R1's templates do."""
    policy = FakePolicy(responses)
    tokenizer = byte_tokenizer().__class__(
        tokenizer_object=policy.tokenizer._tokenizer,
        eos_token="<|im_end|>",
        chat_template=policy.tokenizer.chat_template
        + "{% if add_generation_prompt %}{{ '<think>\n' }}{% endif %}",
    )
    policy.tokenizer = tokenizer
    return policy


def test_a_template_that_opens_the_thought() -> None:
    sly, fair = (text.removeprefix("<think>") for text in (SLY, FAIR))
    core = ICDPO(opening_policy((sly, fair, KIND * 20)), FixedDemonstrations(DEMONSTRATIONS, k=1), n=3)
    result = core.generate("My bike broke.", sampling=SamplingParams(max_new_tokens=300))
    assert [item.text for item in result.candidates] == [KIND, RUDE, ""]
    given = core.score("My bike broke.", [KIND, RUDE])
    assert given.text == KIND
    closing = core.policy.tokenizer("\n</think>\n\n").input_ids
    assert given.best.reasoning_tokens == len(closing), "an answer that was given follows a closed thought"


def test_a_vllm_server_is_not_asked_to_stop_in_a_thought() -> None:
    from tests.unit.policies.vllm.fake_vllm import FakeVLLM
    from tests.unit.policies.vllm.test_policy import connect

    sampling = SamplingParams(stop=("END",), reasoning=ThoughtReader())
    for tokenizer, stop in ((opening_policy().tokenizer, ()), (byte_tokenizer(), ("END",))):
        with connect(FakeVLLM(), tokenizer=tokenizer) as policy:
            assert policy._sampling(SampleRequest([1], 1, sampling))["stop"] == stop


def test_thoughts_in_demonstrations_and_histories_are_not_shown() -> None:
    core = make_core()
    thinking = Demonstration("Hello.", "<think>Hm.</think>Welcome.", "<think>Ha.</think>Go away.")
    plain = Demonstration("Hello.", "Welcome.", "Go away.")
    contexts = [
        core.ask(
            [
                Message("user", "Hi."),
                Message("assistant", f"{thought}Hello."),
                Message("user", "My bike broke."),
            ],
            FixedDemonstrations([shown], k=1).retrieve((Message("user", "Hi."),), 1),
        ).contexts
        for shown, thought in ((thinking, "<think>Hm.</think>"), (plain, ""))
    ]
    assert contexts[0].chosen == contexts[1].chosen
    assert contexts[0].rejected == contexts[1].rejected


@pytest.mark.parametrize("begin", ["<think>", "\n<think>\n", ""])
def test_a_thought_is_not_streamed(begin: str) -> None:
    thought = f"{begin}Hm, a bike.</think>\n\n" if begin else ""
    core = make_core((f"{thought}{KIND}",), n=1)
    chunks = list(core.stream("My bike broke."))
    assert "".join(chunk.text for chunk in chunks) == KIND
    assert len(chunks) > 10
    assert chunks[-1].result is not None
    assert chunks[-1].result.best.reasoning == ("Hm, a bike." if begin else None)


def test_the_thought_of_a_template_that_opens_it_is_not_streamed() -> None:
    core = ICDPO(opening_policy((f"Hm.</think>{KIND}",)), FixedDemonstrations(DEMONSTRATIONS, k=1), n=1)
    assert "".join(chunk.text for chunk in core.stream("My bike broke.")) == KIND


@pytest.mark.parametrize(
    ("text", "answer", "thought"),
    [
        ("<think>a</think><think>b</think>Yes.", "Yes.", "a\nb"),
        ("<think>a</think>\n<th is", "<th is", "a"),
        ("<think>a<think>b</think>c</think>Yes.", "Yes.", "a<think>b</think>c"),
        ("<think>The tags <think> and </think>.</think>Yes.", "Yes.", "The tags <think> and </think>."),
        ("<think>The tag <think>.</think>Yes.", "Yes.", "The tag <think>."),
    ],
)
def test_what_was_streamed_stays_the_beginning_of_the_answer(text: str, answer: str, thought: str) -> None:
    core = make_core((text,), n=1)
    chunks = list(core.stream("My bike broke."))
    assert "".join(chunk.text for chunk in chunks) == answer
    assert chunks[-1].result is not None
    assert (chunks[-1].result.text, chunks[-1].result.best.reasoning) == (answer, thought)
    assert core.generate("My bike broke.").candidates == chunks[-1].result.candidates


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>a<think>b</think>c END</think>Yes. END", "Yes. "),
        ("<think>The tag <think>.</think>Yes. END No.", "Yes. "),
        ("<think>The tag <think>.</think>Yes.", "Yes."),
    ],
)
def test_a_stop_string_counts_behind_the_whole_thought(text: str, answer: str) -> None:
    sampling = SamplingParams(max_new_tokens=300, stop=("END",))
    core = make_core((text,), n=1, sampling=sampling)
    assert core.generate("My bike broke.").text == answer
    tokenizer = byte_tokenizer()
    request = SampleRequest((1,), 1, replace(sampling, reasoning=ThoughtReader()))
    row = Row(tokenizer, request, 0)
    for token in [*tokenizer(text).input_ids, tokenizer.eos_token_id]:
        if not row.finished:
            row.append(token, ended=token == tokenizer.eos_token_id)
            row.logprobs.append(-1.0)
    sample = row.sample()
    assert ThoughtReader().split(sample.token_ids, sample.text, tokenizer).answer == answer
    assert sample.finish_reason == "stop"
    assert len(sample.logprobs) == len(sample.token_ids)


@pytest.mark.parametrize("text", ["ought</think>Yes.", "ought, still", "ou<think>g</think>ht</think>Yes."])
def test_the_beginning_of_an_answer_opens_the_thought(text: str) -> None:
    prompt = [Message("user", "My bike broke."), Message("assistant", "<think>I th")]
    core = make_core((text,), n=1).with_chat_template_kwargs({"continue_final_message": True})
    result = core.rank(core.sample(prompt, core.retrieve(prompt)))
    reasoning, closing, answer = text.rpartition("</think>") if "</think>" in text else (text, "", "")
    assert (result.text, result.best.reasoning) == (answer, reasoning)
    if closing:
        assert "".join(chunk.text for chunk in core.stream(prompt)) == answer
        thought = core.policy.tokenizer("\n</think>\n\n").input_ids
        given = core.score(prompt, ["Yes."]).best
        assert given.reasoning_tokens == len(thought), "the given answer follows a closed thought"


def test_half_a_character_of_a_call_is_not_streamed() -> None:
    tokenizer, text = byte_tokenizer(), "<think>Hm.</think><|channel|>commentary to=Zürich"
    ids, reader = tokenizer(text).input_ids, ThoughtReader()
    for end in range(len(ids)):
        assert text.partition("</think>")[2].startswith(reader.so_far(ids[:end], "", tokenizer))


@pytest.mark.parametrize("thought", ["<think>a</think><think>b</think>\n", ""])
def test_the_thought_is_told_once_before_the_first_text(thought: str) -> None:
    told: list[tuple[str, str]] = []
    make_core((f"{thought}{KIND}",), n=1).generate(
        "My bike broke.",
        on_text=lambda text: told.append(("text", text)),
        on_thought=lambda text: told.append(("thought", text)),
    )
    thoughts = [item for item in told if item[0] == "thought"]
    assert thoughts == ([("thought", "a\nb")] if thought else [])
    shown = [item for item in told if item[1]]
    assert shown[: len(thoughts)] == thoughts
    assert KIND.startswith(shown[-1][1])
