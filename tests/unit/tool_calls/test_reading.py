"""The forms in which models write tool calls: each is read, in linear time, and nothing raises."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.tool_calls.reading import read_calls
from icdpo_chains.tool_calls.tool_call import ToolCall

PARAMETERS = {
    "type": "object",
    "properties": {
        "place": {"type": "string"},
        "days": {"type": "integer"},
        "exact": {"type": "boolean"},
        "names": {"type": "array"},
    },
}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "d", "parameters": PARAMETERS}},
    {"type": "function", "function": {"name": "time", "description": "d"}},
]
OSLO = ("weather", {"place": "Oslo", "days": 2})
TIME = ("time", {})
BODY = '{"place": "Oslo", "days": 2}'
OBJECT = f'{{"name": "weather", "arguments": {BODY}}}'

FORMS: dict[str, tuple[str, str, list[tuple[str, dict[str, Any]]]]] = {
    "Hermes, Qwen": (f"So: <tool_call>\n{OBJECT}\n</tool_call>", "So:", [OSLO]),
    "Qwen, two calls": (
        f'<tool_call>{OBJECT}</tool_call>\n<tool_call>{{"name": "time", "arguments": {{}}}}</tool_call>',
        "",
        [OSLO, TIME],
    ),
    "Qwen3-Coder": (
        "I look.\n<tool_call>\n<function=weather>\n<parameter=place>\nOslo\n</parameter>\n"
        "<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>",
        "I look.",
        [OSLO],
    ),
    "Qwen3-Coder without its wrapper": (
        "<function=weather>\n<parameter=place>\nOslo\n</parameter>\n<parameter=days>\n2\n</parameter>\n"
        "</function>\n</tool_call>",
        "",
        [OSLO],
    ),
    "Qwen3-Coder, no arguments": ("<tool_call>\n<function=time>\n</function>\n</tool_call>", "", [TIME]),
    "Qwen3-Coder, types": (
        "<tool_call><function=weather><parameter=place>\n  7\n  </b>\n</parameter><parameter=exact>True"
        '</parameter><parameter=names>["a", 1]</parameter></function></tool_call>',
        "",
        [("weather", {"place": "  7\n  </b>", "exact": True, "names": ["a", 1]})],
    ),
    "Llama 3.1": (f"<function=weather>{BODY}</function>", "", [OSLO]),
    "Llama 3.1, ipython": (f"<|python_tag|>{OBJECT.replace('arguments', 'parameters')}", "", [OSLO]),
    "Llama 3.2": ("[weather(place='Oslo', days=2), time()]", "", [OSLO, TIME]),
    "Llama 4": ('<|python_start|>[weather(place="Oslo", days=2)]<|python_end|>', "", [OSLO]),
    "Python, values": (
        r"""weather(place="a\"b\n\u00e9(],", days=-2, exact=False, names=[1.5, {'k': None}, (1, 2), "x",])""",
        "",
        [
            (
                "weather",
                {
                    "place": 'a"b\né(],',
                    "days": -2,
                    "exact": False,
                    "names": [1.5, {"k": None}, [1, 2], "x"],
                },
            )
        ],
    ),
    "Mistral": (f"[TOOL_CALLS] [{OBJECT}]</s>", "", [OSLO]),
    "Mistral, with arguments": (
        f"Hm. [TOOL_CALLS]weather[ARGS]{BODY}[TOOL_CALLS]time[CALL_ID]abcdefghi[ARGS]{{}}",
        "Hm.",
        [OSLO, TIME],
    ),
    "Mistral, marks lost": (f"weather{BODY}", "", [OSLO]),
    "DeepSeek R1": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n"
        f"{BODY}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>time\n```json\n{{}}\n```"
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "",
        [OSLO, TIME],
    ),
    "DeepSeek V3.1": (
        f"So:<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{BODY}<｜tool▁call▁end｜>",
        "So:",
        [OSLO],
    ),
    "Kimi K2": (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>"
        f"{BODY}<|tool_call_end|><|tool_calls_section_end|>",
        "",
        [OSLO],
    ),
    "GLM-4.5": (
        "<tool_call>weather\n<arg_key>place</arg_key>\n<arg_value>Oslo</arg_value>\n"
        "<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>\n<tool_call>time\n</tool_call>",
        "",
        [OSLO, TIME],
    ),
    "gpt-oss": (
        f"<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{BODY}<|call|>",
        "",
        [OSLO],
    ),
    "gpt-oss, recipient in the role": (
        f"<|start|>assistant to=functions.weather<|channel|>commentary json<|message|>{BODY}<|call|>",
        "",
        [OSLO],
    ),
    "Granite": (f"<|tool_call|>[{OBJECT}]", "", [OSLO]),
    "Phi-4-mini": (f"<|tool_call|>[{OBJECT}]<|/tool_call|>", "", [OSLO]),
    "Command A": (
        f'<|START_ACTION|>[{{"tool_call_id": "0", "tool_name": "weather", "parameters": {BODY}}}]<|END_ACTION|>',
        "",
        [OSLO],
    ),
    "Qwen2.5-Coder, several calls": (f'{OBJECT}\n{{"name": "time", "arguments": {{}}}}', "", [OSLO, TIME]),
    "Qwen2.5-Coder, and no end": (f"{OBJECT}\nIt is cold.\n\nVery.", "It is cold.\nVery.", [OSLO]),
    "JSON alone": (f"```json\n{OBJECT}\n```", "", [OSLO]),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_read(form: str) -> None:
    text, content, calls = FORMS[form]
    read = read_calls(text, TOOLS)
    assert [(call.name, dict(call.arguments)) for call in read.calls] == calls
    assert read.content == content
    assert read.broken == ()


@pytest.mark.parametrize(
    "text",
    [
        "The sum is 3.",
        '{"answer": 3}',
        "[1, 2]",
        f'{{"name": "other", "arguments": {{}}}}\n{OBJECT}',
        f"I could write\n{OBJECT}",
        "print('hello')",  # no tool of this name
        "[other(a=1)]",
        "weather is fine {today}",
        "weather(place=Oslo)",
        "weather('Oslo')",
        "",
    ],
)
def test_an_answer_is_no_call(text: str) -> None:
    read = read_calls(text, TOOLS)
    assert (read.content, read.calls, read.broken) == (text, (), ())


def test_a_call_that_is_cut_off_does_not_hide_those_before() -> None:
    cut = '{"name": "weather", "argum'
    read = read_calls(f'{OBJECT}\n{{"name": "other", "arguments": {{}}}}\n{cut}', TOOLS)
    assert ([call.name for call in read.calls], read.broken, read.content) == (
        ["weather", "other"],
        (cut,),
        "",
    )


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("<tool_call>{</tool_call>", "{"),
        ("[TOOL_CALLS]weather[ARGS]{", "weather[ARGS]{"),
        ("<function=>x</function>", "<function=>x"),
        ("<tool_call>weather<arg_key>place</arg_key></tool_call>", "weather<arg_key>place</arg_key>"),
        ('<tool_call>{"name": "weather", "arguments": {"place": "\\ud800"}}</tool_call>', None),
    ],
)
def test_a_broken_call_is_kept_as_such(text: str, broken: str | None) -> None:
    read = read_calls(text, TOOLS)
    assert read.calls == ()
    assert len(read.broken) == 1
    assert broken is None or read.broken == (broken,)


def test_without_schemas_arguments_between_tags_are_texts() -> None:
    (call,) = read_calls("<tool_call><function=f><parameter=a>1</parameter></function></tool_call>").calls
    assert call.arguments == {"a": "1"}


SECONDS = 5  # a quadratic reader takes minutes
HOSTILE = {
    "openings of functions": "<function=a>" * 20_000,
    "parameters": "<function=a>" + "<parameter=b>" * 40_000,
    "keys": "<tool_call>a" + "<arg_key>" * 40_000,
    "mixed keys": "<tool_call>a" + "<arg_key>b</arg_key>" * 20_000,
    "marks of Mistral": "[TOOL_CALLS]a[ARGS]" * 20_000,
    "lists": "weather(place=" + "[" * 50_000,
    "closed lists": "weather(place=" + "[" * 3_000 + "]" * 3_000 + ")",
    "objects": "weather(place=" + "{'a':" * 20_000,
    "an open string": 'weather(place="' + "a" * 200_000,
    "escapes": 'weather(place="' + "\\" * 200_000,
    "codes": 'weather(place="' + "\\UFFFFFFFF" * 10_000 + '")',
    "digits": "weather(days=" + "9" * 100_000 + ")",
    "calls": "[" + "time()," * 30_000,
    "lines": '{"name": "time", "arguments": {}}\n' * 5_000 + "{",
    "spaces": "[" + " " * 200_000 + "x",
    "DeepSeek": "<｜tool▁call▁begin｜>" * 20_000,
    "Kimi": "<|tool_call_begin|>functions.a:" * 20_000,
    "gpt-oss": "to=functions." * 20_000,
    "closing marks": "<|tool_call|>" + "</s>" * 50_000,
    "around": "<tool_call>a</tool_call>" + "<|start|>assistant" * 20_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_takes_linear_time(text: str) -> None:
    started = time.process_time()
    read = read_calls(text, TOOLS)
    assert time.process_time() - started < SECONDS
    assert json.dumps([dict(call.arguments) for call in read.calls]) is not None


PIECES = [
    *(
        "<tool_call>",
        "</tool_call>",
        "<function=weather>",
        "</function>",
        "<parameter=place>",
        "</parameter>",
    ),
    *("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    *("<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<|python_start|>", "to=functions.weather", "<|message|>"),
    *("weather(", "time()", "place=", "weather", "{", "}", "[", "]", "(", ")", "'", '"', "\\", ",", ":", "="),
    *("function", "```json\n", "```", "1", "1e999", "null", " ", "\n", BODY, OBJECT),
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join))
def test_any_text_is_read(text: str) -> None:
    read = read_calls(text, TOOLS)
    for call in read.calls:
        assert json.loads(call.json()) is not None
    if not read.calls and not read.broken:
        assert read.content == text


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_a_number_that_is_not_finite_makes_no_call(number: str) -> None:
    call = f'{{"name": "weather", "arguments": {{"days": {number}}}}}'
    assert read_calls(call, TOOLS).calls == ()
    assert read_calls(f"<tool_call>{call}</tool_call>", TOOLS).broken == (call,)
    with pytest.raises(InvalidInputError, match="not JSON values"):
        ToolCall("weather", {"days": float(number)})
