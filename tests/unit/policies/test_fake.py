import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icdpo_chains.policies.fake import FakePolicy, byte_tokenizer
from icdpo_chains.policies.policy import Policy
from icdpo_chains.policies.sampling import SampleRequest, SamplingParams

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
CONTEXT = byte_tokenizer()("To be kind is to listen, to be kind is to help.").input_ids


def test_it_is_a_policy() -> None:
    assert isinstance(FakePolicy(), Policy)


@given(TEXT)
def test_its_tokenizer_keeps_any_text(text: str) -> None:
    tokenizer = byte_tokenizer()
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
    assert tokenizer.decode(ids) == text
    assert len(ids) == len(text.encode("utf-8"))


def test_its_responses_may_depend_on_the_context() -> None:
    policy = FakePolicy(lambda context: [context[-5:], "second"])
    samples = policy.sample(CONTEXT, 3, SamplingParams(max_new_tokens=30))
    assert [sample.text for sample in samples] == ["help.", "second", "help."]


def test_its_probabilities_sum_to_one() -> None:
    policy = FakePolicy()
    every = [[token] for token in range(len(policy.tokenizer))]
    for context in (CONTEXT, [250]):
        total = sum(math.exp(logprobs[0]) for logprobs in policy.logprobs(context, every))
        assert total == pytest.approx(1, abs=1e-5)


@given(st.lists(TEXT, min_size=1, max_size=3), st.integers(1, 5))
@settings(deadline=None)
def test_what_it_records_is_what_it_scores(responses: list[str], n: int) -> None:
    policy = FakePolicy(responses)
    samples = policy.sample(CONTEXT, n, SamplingParams(max_new_tokens=30))
    scored = policy.logprobs(CONTEXT, [sample.token_ids for sample in samples])
    for i, (sample, logprobs) in enumerate(zip(samples, scored, strict=True)):
        assert list(sample.logprobs) == logprobs
        assert (sample.text == responses[i % len(responses)]) or sample.finish_reason == "length"


def test_without_responses_it_samples_reproducibly() -> None:
    sampling = SamplingParams(max_new_tokens=20, seed=3)
    one, other = FakePolicy().sample(CONTEXT, 4, sampling), FakePolicy().sample(CONTEXT, 4, sampling)
    assert one == other
    assert len({sample.text for sample in one}) > 1


def test_an_answer_like_the_context_is_likelier() -> None:
    policy = FakePolicy()
    encode = policy.tokenizer
    alike, unlike = (encode(text, add_special_tokens=False).input_ids for text in ("to help", "QXZJWVK"))
    good, bad = policy.logprobs(CONTEXT, [alike, unlike])
    assert sum(good) > sum(bad)


def test_responses_obey_length_and_stop_strings() -> None:
    policy = FakePolicy(["one two three"])
    (short,) = policy.sample(CONTEXT, 1, SamplingParams(max_new_tokens=5))
    assert (short.text, short.finish_reason) == ("one t", "length")
    (cut,) = policy.sample(CONTEXT, 1, SamplingParams(stop=("two",)))
    assert (cut.text, cut.finish_reason) == ("one ", "stop")


def test_the_context_limit_holds() -> None:
    with pytest.raises(ValueError, match="exceed the 50 tokens"):
        FakePolicy(max_context=50).sample(CONTEXT, 1, SamplingParams(max_new_tokens=20))


def test_it_decodes_guided() -> None:
    policy = FakePolicy()
    context, contrast = (byte_tokenizer()(text).input_ids for text in ("abacab a", "abababab a"))
    greedy = SamplingParams(max_new_tokens=1, temperature=0, decoding="guided")
    (samples,) = policy.sample_batch([SampleRequest(context, 1, greedy, contrast=contrast)])
    # Behind an "a", "b" is likelier in the context; the contrast has no "c".
    assert (policy.sample(context, 1, replace(greedy, decoding="sample"))[0].text, samples[0].text) == (
        "b",
        "c",
    )
    (expert,), (other,) = (policy.logprobs(ids, [samples[0].token_ids]) for ids in (context, contrast))
    assert samples[0].logprobs == pytest.approx(expert)
    assert samples[0].contrast_logprobs == pytest.approx(other)
    sampling = replace(greedy, max_new_tokens=20, temperature=1.0, seed=3, guidance=0)
    (zero,) = policy.sample_batch([SampleRequest(context, 3, sampling, contrast=contrast)])
    assert zero == policy.sample(context, 3, replace(sampling, decoding="sample"))


def test_fixed_responses_are_not_decoded_guided() -> None:
    request = SampleRequest(CONTEXT, 1, SamplingParams(max_new_tokens=5, decoding="guided"), contrast=[7])
    with pytest.raises(ValueError, match="build it without responses"):
        FakePolicy(["fixed"]).sample_batch([request])
