"""Thoughts and answers, told apart in text and in tokens."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.reasoning.tags import KNOWN_TAGS, ReasoningTags, as_tags, known_tags
from icdpo_chains.reasoning.thoughts import Thought, ThoughtReader, answer_alone

THINK = ReasoningTags("<think>", "</think>")
CHANNEL = ReasoningTags("<|channel|>analysis<|message|>", "<|channel|>final<|message|>")
ANALYSIS = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"


def read(text: str, *tags: ReasoningTags) -> tuple[str | None, str, bool]:
    thought = ThoughtReader(tags or (THINK,)).read(text)
    return thought.reasoning, thought.answer, thought.finished


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes.", (None, "Yes.", True)),
        ("<think>Hm.</think>Yes.", ("Hm.", "Yes.", True)),
        ("\n<think>\nHm.\n</think>\n\nYes.", ("Hm.", "Yes.", True)),
        ("Hm.\n</think>\n\nYes.", ("Hm.", "Yes.", True)),
        ("<think>\n\n</think>\n\nYes.", (None, "Yes.", True)),
        ("<think>Hm.", ("Hm.", "", False)),
        ("<think>Hm.</think>", ("Hm.", "", True)),
        ("<think>a</think>Write </think> here.", ("a", "Write </think> here.", True)),
        ("I <think> so.", (None, "I <think> so.", True)),
        ("<think>a<think>b</think>c</think>Yes.", ("a<think>b</think>c", "Yes.", True)),
        (
            "<think>a<think>b</think>c<think>d</think></think>Yes.</think>",
            ("a<think>b</think>c<think>d</think>", "Yes.</think>", True),
        ),
        ("<think>Mention <think>.</think>Yes.", ("Mention <think>.", "Yes.", True)),
    ],
)
def test_tags(text: str, expected: tuple[str | None, str, bool]) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{ANALYSIS}<|channel|>final<|message|>Yes.", ("Hm.", "Yes.", True)),
        (f"{ANALYSIS}{ANALYSIS}<|channel|>final<|message|>Yes.", ("Hm.\nHm.", "Yes.", True)),
        ("<|channel|>final<|message|>Yes.", (None, "Yes.", True)),
        (ANALYSIS, ("Hm.", "", False)),
        (
            f"{ANALYSIS}<|channel|>commentary to=functions.add <|constrain|>json<|message|>{{}}",
            ("Hm.", "<|channel|>commentary to=functions.add <|constrain|>json<|message|>{}", True),
        ),
        (
            f"{ANALYSIS}<|start|>assistant to=functions.add<|channel|>commentary json<|message|>{{}}",
            ("Hm.", "<|start|>assistant to=functions.add<|channel|>commentary json<|message|>{}", True),
        ),
        (
            " to=functions.add<|channel|>commentary json<|message|>{}",
            (None, "to=functions.add<|channel|>commentary json<|message|>{}", True),
        ),
    ],
)
def test_channels(text: str, expected: tuple[str | None, str, bool]) -> None:
    assert read(text, CHANNEL) == expected


def test_several_messages_of_a_channel_do_not_nest() -> None:
    """While the answer grows: its text is streamed, and its tokens are not those of a thought."""
    tokenizer, analysis = byte_tokenizer(), "<|channel|>analysis<|message|>"
    thought = f"{analysis}One.<|end|><|start|>assistant{analysis}Two.<|end|><|start|>assistant"
    begin = len(tokenizer(f"{thought}<|channel|>final<|message|>").input_ids)
    ids = tokenizer(f"{thought}<|channel|>final<|message|>Hello").input_ids
    reader, text = ThoughtReader.of_given(), tokenizer.decode(ids, skip_special_tokens=True)
    assert reader.so_far(ids, text, tokenizer) == "Hello"
    assert reader.thought_tokens(ids, tokenizer, ended=False) == begin
    assert reader.thought_tokens(ids[: begin - 9], tokenizer, ended=False) is None


def test_the_context_opens_or_closes_the_thought() -> None:
    tokenizer = byte_tokenizer()

    def after(end: str) -> ThoughtReader:
        return ThoughtReader.after(tokenizer(end).input_ids, tokenizer, [THINK])

    assert after("<|im_start|>assistant\n<think>\n").read("Hm.").finished is False
    assert after("<think>\n").read("Hm.</think>Yes.") == Thought("Hm.", "Yes.", 0)
    assert after("<think>\n").read("<think>Hm.</think>Yes.") == Thought("Hm.", "Yes.", 0)
    closed = after("<think>\n\n</think>\n\n")
    assert closed.read("The tag </think> ends a thought.").answer == "The tag </think> ends a thought."


@pytest.mark.parametrize(
    ("begun", "expected"),
    [
        ("<think>I", Thought("ought", "", 0, finished=False)),
        ("<think>a</think><think>I", Thought("ought", "", 0, finished=False)),
        ("<think>a</think>I", Thought(None, "ought", 0)),
        ("I <think>", Thought(None, "ought", 0)),
        ("I", Thought(None, "ought", 0)),
    ],
)
def test_the_beginning_of_an_answer_may_open_a_thought(begun: str, expected: Thought) -> None:
    tokenizer = byte_tokenizer()
    context = tokenizer(f"<|im_start|>assistant\n{begun} th").input_ids
    assert ThoughtReader.after(context, tokenizer, begun=f"{begun} th").read("ought") == expected


def test_a_given_text_needs_the_opening_tag() -> None:
    reader = ThoughtReader.of_given([])
    assert reader.read("Write </think> here.").answer == "Write </think> here."
    assert reader.read("<think>Hm.</think>Yes.") == Thought("Hm.", "Yes.", 0)


@pytest.mark.parametrize(("begin", "end"), [("<think>", "</think>\n\n"), ("<think>\n", "</think>")])
def test_tokens_of_tag_and_white_space_belong_to_the_thought(begin: str, end: str) -> None:
    tokenizer = byte_tokenizer()
    text = f"{begin}Größe?{end}Yes."
    ids = [*tokenizer(text).input_ids, tokenizer.eos_token_id]
    thought = ThoughtReader().split(ids, text, tokenizer)
    assert (thought.reasoning, thought.answer) == ("Größe?", "Yes.")
    assert tokenizer.decode(ids[thought.num_tokens :]) == "Yes.<|im_end|>"


def test_tags_that_are_special_tokens_are_seen() -> None:
    tokenizer = byte_tokenizer().__class__(
        tokenizer_object=byte_tokenizer()._tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["[THINK]", "[/THINK]"]})
    assert known_tags(tokenizer) == (ReasoningTags("[THINK]", "[/THINK]"),)
    ids = tokenizer("[THINK]Hm.[/THINK]Yes.").input_ids
    text = tokenizer.decode(ids, skip_special_tokens=True)
    assert text == "Hm.Yes."
    thought = ThoughtReader(known_tags(tokenizer)).split(ids, text, tokenizer)
    assert (thought.reasoning, thought.answer, thought.num_tokens) == ("Hm.", "Yes.", 5)


def test_a_template_names_its_tags() -> None:
    tokenizer = byte_tokenizer().__class__(
        tokenizer_object=byte_tokenizer()._tokenizer, eos_token="<|im_end|>", chat_template="<seed:think>"
    )
    assert known_tags(tokenizer) == (ReasoningTags("<seed:think>", "</seed:think>"),)
    assert known_tags(byte_tokenizer()) == ()


def test_tags_that_can_not_be_told_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="the closing tag is ' '"):
        ReasoningTags("<think>", " ")
    with pytest.raises(ValueError, match="both reasoning tags are '<t>'"):
        ReasoningTags("<t>", "<t>")
    with pytest.raises(TypeError, match="the opening tag must be a string, not 1"):
        ReasoningTags(1, "</t>")  # type: ignore[arg-type]


def test_tags_are_given_as_pairs() -> None:
    one, two = ReasoningTags("<a>", "</a>"), ReasoningTags("<b>", "</b>")
    for form in (one, ("<a>", "</a>"), ["<a>", "</a>"], [["<a>", "</a>"]], [one]):
        assert as_tags(form) == (one,)
    assert as_tags([one, ("<b>", "</b>")]) == (one, two)
    for wrong in ("<a>", None, 3, ["<a>"], ["<a>", "</a>", "<b>"], [["<a>", "</a>"], "<b>"], {"<a>": "</a>"}):
        with pytest.raises(TypeError, match="a pair of tags"):
            as_tags(wrong)
    with pytest.raises(ValueError, match="is empty"):
        as_tags([])
    with pytest.raises(TypeError, match="must be a string, not 2"):
        as_tags([["<a>", 2]])


@pytest.mark.parametrize("tags", KNOWN_TAGS, ids=lambda tags: tags.opening.strip())
def test_a_given_text_loses_the_thought_of_any_published_model(tags: ReasoningTags) -> None:
    assert answer_alone(f"{tags.opening}Hm.{tags.closing}Yes.") == "Yes."
    assert answer_alone(f"Yes. {tags.opening}Hm.{tags.closing}") == f"Yes. {tags.opening}Hm.{tags.closing}"
    assert answer_alone("<own>Hm.</own>Yes.", [ReasoningTags("<own>", "</own>")]) == "Yes."


PIECES = [
    "<think>",
    "</think>",
    "<|channel|>analysis<|message|>",
    "<|channel|>final<|message|>",
    " ",
    "ä",
    "}",
]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_tokens_and_text_agree(text: str) -> None:
    tokenizer = byte_tokenizer()
    ids = tokenizer(text).input_ids
    reader = ThoughtReader((CHANNEL, THINK))
    thought, expected = reader.split(ids, text, tokenizer), reader.read(text)
    assert (thought.reasoning, thought.answer, thought.finished) == (
        expected.reasoning,
        expected.answer,
        expected.finished,
    )
    if thought.finished and (thought.answer != text):
        assert tokenizer.decode(ids[thought.num_tokens :]).strip() == thought.answer.strip()
        assert reader.thought_tokens(ids, tokenizer) == thought.num_tokens


@pytest.mark.parametrize(
    "text",
    [
        "<think>" * 40_000,
        "</think><think>" * 40_000,
        "<think></think>" * 40_000,
        "<think><think></think>" * 40_000,
        "<think><think></think></think>" * 40_000,
        f"{CHANNEL.opening}{CHANNEL.closing}" * 10_000,
        f"{CHANNEL.opening}<|channel|>{CHANNEL.closing}" * 10_000,
        " " * 400_000,
        "<" * 400_000,
    ],
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    began = time.process_time()
    ThoughtReader((CHANNEL, THINK)).read(text)
    assert time.process_time() - began < 5  # quadratic: minutes
