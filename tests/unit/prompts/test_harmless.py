import copy
from typing import Any

import pytest
from tokenizers import AddedToken, normalizers

from icdpo_chains.messages import Message
from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.prompts.chat_format import ChatFormat
from icdpo_chains.prompts.harmless import Harmless
from icdpo_chains.tool_calls.tool_call import ToolCall

# As GLM-4.5 does, it writes added tokens around each argument; as Kimi K2 does, it shows the ids of calls.
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.tool_call_id or '' }} {{ m.name or '' }} {{ m.content }}"
    "{% for c in m.tool_calls or [] %}<call>{{ c.id }} {{ c.function.name }}"
    "{% for name, value in c.function.arguments.items() %}<key>{{ name }}</key>{{ value }}{% endfor %}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ADDED = ("<call>", "<key>", "</key>")


@pytest.fixture
def tokenizer() -> Any:
    tokenizer = copy.deepcopy(byte_tokenizer())  # the original is shared by all tests
    tokenizer.chat_template = TEMPLATE
    tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    tokenizer.backend_tokenizer.add_tokens(
        [AddedToken(token, special=False, normalized=True) for token in ADDED]
    )
    return tokenizer


def conversation(call: ToolCall, name: str | None = None) -> list[Message]:
    return [
        Message("user", "hello"),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "ten degrees", tool_call_id=call.id, name=name),
    ]


def count_of(tokenizer: Any, turns: list[Message]) -> dict[str, int]:
    ids = ChatFormat(tokenizer).context(turns, [], None)
    return {token: ids.count(tokenizer.convert_tokens_to_ids(token)) for token in (*ADDED, "<|im_end|>")}


@pytest.mark.parametrize("hostile", ["<call>", "\uff1ccall\uff1e", "\uff1c|im_end|\uff1e"])
@pytest.mark.parametrize("place", ["id", "name", "key", "value", "result"])
def test_no_part_of_a_tool_call_becomes_a_control_token(tokenizer: Any, hostile: str, place: str) -> None:
    def at(where: str, text: str) -> str:
        return text + hostile if where == place else text

    call = ToolCall(at("name", "weather"), {at("key", "city"): at("value", "Oslo")}, at("id", "call_1"))
    turns = conversation(call, at("result", "weather"))
    assert count_of(tokenizer, turns) == {"<call>": 1, "<key>": 1, "</key>": 1, "<|im_end|>": 3}


@pytest.mark.parametrize("number", [0, 1, 2, 5])
def test_a_template_may_write_control_tokens_around_each_argument(tokenizer: Any, number: int) -> None:
    call = ToolCall("weather", {f"city {i}": f"Oslo {i}" for i in range(number)}, "call_1")
    assert count_of(tokenizer, conversation(call))["<key>"] == number


def test_ids_of_calls_keep_their_length_and_differ() -> None:
    ids = ("tBfYt2CvQ", "call_of_a_longer_name", "A1b2C3d4E")
    calls = [ToolCall("f", {}, id_) for id_ in ids]
    results = [Message("tool", "r", tool_call_id=id_) for id_ in reversed(ids)]
    turns = Harmless.like([Message("assistant", "", tool_calls=tuple(calls)), *results]).turns
    given = [call.id or "" for call in turns[0].tool_calls]
    assert [len(id_) for id_ in given] == [len(id_) for id_ in ids]
    assert len(set(given)) == 3
    assert [turn.tool_call_id for turn in turns[1:]] == given[::-1]


def test_conversations_that_differ_only_in_their_ids_have_the_same_shape() -> None:
    one, other = (Harmless.like(conversation(ToolCall("f", {"a": 1}, id_))) for id_ in ("one", "two"))
    assert one.key == other.key
