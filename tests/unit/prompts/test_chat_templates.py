"""One table of conversations over the chat templates of fifteen model families."""

from __future__ import annotations

import pytest

from icdpo_chains.errors import PromptError
from icdpo_chains.messages import Message
from icdpo_chains.prompts.chat_format import ChatFormat
from icdpo_chains.prompts.harmless import Harmless
from icdpo_chains.tool_calls.tool_call import ToolCall

from .templates import FAMILIES, family_tokenizer

SHOWN = [
    ((Message("user", "Hello there"),), "Good day to you!"),
    ((Message("system", "Be a pirate."), Message("user", "Many thanks")), "You are welcome."),
]
CALL = ToolCall("weather_at", {"place": "Oslo", "days": 2}, "call_0123456789abcdef01234567")
OTHER = ToolCall("time_at", {"place": "Rome"}, "call_1123456789abcdef01234567")
TOOL = {
    "type": "function",
    "function": {
        "name": "weather_at",
        "description": "Tells the weather.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string", "description": "A town."}},
            "required": ["place"],
        },
    },
}
RAIN = Message("tool", 'It rains: "4 mm"\nuntil noon.', tool_call_id=CALL.id)

CONVERSATIONS: dict[str, tuple[Message, ...]] = {
    "one turn": (Message("user", "Are you well?"),),
    "system": (Message("system", "Speak French."), Message("user", "Are you well?")),
    "turns": (
        Message("user", "One?"),
        Message("assistant", "Two."),
        Message("user", "Three?"),
        Message("assistant", "Four."),
        Message("user", "Five?"),
    ),
    "late system": (
        Message("system", "Speak French."),
        Message("user", "One?"),
        Message("assistant", "Two."),
        Message("system", "Answer from the papers."),
        Message("user", "Three?"),
    ),
    "neighbours": (Message("user", "One?"), Message("user", "Two?")),
    "opening answer": (Message("assistant", "Welcome."), Message("user", "One?")),
    "tool result": (
        Message("user", "How is Oslo?"),
        Message("assistant", "", (CALL,)),
        RAIN,
    ),
    "words and a call": (
        Message("user", "How is Oslo?"),
        Message("assistant", "Let me look that up.", (CALL,)),
        RAIN,
        Message("assistant", "It rains."),
        Message("user", "And tomorrow?"),
    ),
    "two calls": (
        Message("user", "How is Oslo?"),
        Message("assistant", "", (CALL, OTHER)),
        RAIN,
        Message("tool", "Noon.", tool_call_id=OTHER.id),
        Message("assistant", "It rains."),
        Message("user", "And tomorrow?"),
    ),
    "a result without a call": (Message("user", "How is Oslo?"), Message("tool", "Noon.")),
}

SHOWS_TOOLS = {"glm4", "gpt_oss", "granite3", "llama3", "mistral", "qwen3", "qwen3_coder", "smollm3"}
CALLS_AS = {
    "deepseek_r1": "json",
    "glm4": "mapping",
    "gpt_oss": "mapping",
    "granite3": "mapping",
    "llama3": "mapping",
    "mistral": "mapping",
    "qwen3": "mapping",
    "qwen3_coder": "mapping",
}
"""The families whose template writes calls; those of the others stand in the text."""


def words(conversation: tuple[Message, ...]) -> list[str]:
    found = []
    for turn in conversation:
        found += [turn.content.split('"')[0]] if turn.content else []
        for call in turn.tool_calls:
            found += [call.name, call.arguments["place"]]
    return found


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_text_reaches_the_model(family: str, name: str) -> None:
    tokenizer = family_tokenizer(family)
    conversation = CONVERSATIONS[name]
    layout = ChatFormat(tokenizer)
    bare = tokenizer.decode(layout.context(conversation, [], None))
    shown = tokenizer.decode(layout.context(conversation, SHOWN, "Be kind."))
    for text in words(conversation):
        assert text in bare
        assert shown.count(text) >= bare.count(text)
    pieces = ["Hello there", "Good day to you!", "Be a pirate.", "Many thanks", "You are welcome."]
    places = [shown.index(piece) for piece in pieces]
    assert places == sorted(places)
    assert places[-1] < shown.rindex(words(conversation)[-1])
    assert shown.count("Be kind.") == 1
    assert "None" not in shown


@pytest.mark.parametrize("family", FAMILIES)
def test_a_call_is_given_in_the_form_that_the_template_takes(family: str) -> None:
    layout = ChatFormat(family_tokenizer(family))
    conversation = CONVERSATIONS["tool result"]
    found, _ = layout._first_layout(Harmless.like(conversation), {"add_generation_prompt": True})
    assert found.calls == CALLS_AS.get(family, "text")
    assert found.short_ids == (family == "mistral")
    rendered = family_tokenizer(family).decode(layout.context(conversation, [], None))
    assert ("<tool_call>\n{" in rendered) == (family == "qwen3" or family not in CALLS_AS)


def test_a_template_of_one_call_a_message_gets_each_call_with_its_result() -> None:
    tokenizer = family_tokenizer("gpt_oss")
    text = tokenizer.decode(ChatFormat(tokenizer).context(CONVERSATIONS["two calls"], [], None))
    places = [
        text.index(piece) for piece in ("to=functions.weather_at", "It rains: ", "to=functions.time_at")
    ]
    assert places == sorted(places)
    assert places[-1] < text.index("Noon.") < text.index("It rains.<")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_structured_call_has_a_structured_result(family: str) -> None:
    layout = ChatFormat(family_tokenizer(family))
    for conversation in CONVERSATIONS.values():
        if any(turn.tool_calls for turn in conversation):
            found, _ = layout._first_layout(Harmless.like(conversation), {"add_generation_prompt": True})
            assert found.calls == "text" or found.results == "tool"


@pytest.mark.parametrize("family", FAMILIES)
def test_tools_are_shown_or_refused(family: str) -> None:
    layout = ChatFormat(family_tokenizer(family))
    if family not in SHOWS_TOOLS:
        with pytest.raises(PromptError, match="no place for tools"):
            layout.with_tools([TOOL])
        return
    shown = layout.with_tools([TOOL])
    for conversation in CONVERSATIONS.values():
        if conversation[0].role == "assistant" and family == "llama3":
            continue
        text = family_tokenizer(family).decode(shown.context(conversation, SHOWN, "Be kind."))
        assert "weather_at" in text
        assert "Tells the weather." in text


def hostile(conversation: tuple[Message, ...], text: str) -> tuple[Message, ...]:
    return tuple(
        Message(
            turn.role,
            f"{turn.content} {text}" if turn.content else "",
            tuple(ToolCall(call.name, {"place": f"Oslo {text}"}, call.id) for call in turn.tool_calls),
            turn.tool_call_id,
        )
        for turn in conversation
    )


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_hostile_text_adds_no_control_token(family: str, name: str) -> None:
    tokenizer = family_tokenizer(family)
    layout = ChatFormat(tokenizer)
    controls = set(tokenizer.added_tokens_decoder)
    everything = " ".join(map(str, tokenizer.added_tokens_decoder.values()))
    conversation = CONVERSATIONS[name]
    harmless = layout.context(hostile(conversation, "ok"), SHOWN, "Be kind.")
    attacked = layout.context(hostile(conversation, f"{everything}ok"), SHOWN, "Be kind.")
    assert [token for token in attacked if token in controls] == [
        token for token in harmless if token in controls
    ]
    assert len(attacked) > len(harmless)
