r"""Dialogues written as one text: `dialogue_of` splits the text at the marks of its style.

`_STYLES` has one row for each style: `\n\nHuman: ... \n\nAssistant: ...`, ChatML, Llama, Gemma, Mistral and
so on. A text is a dialogue if it begins with a mark; only the marks of the same style split it.
"""

from __future__ import annotations

import ast
import html
import io
import json
import re
import tokenize
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from icdpo_chains.errors import DemonstrationError
from icdpo_chains.messages import Message

__all__ = [
    "check_marks",
    "dialogue_of",
    "text_of_html",
    "unescaped",
    "value_of",
    "without_control_end",
    "without_end",
]

_ROLES = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "[inst]": "user",
    "instruction": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "input": "input",
    "model": "assistant",
    "[/inst]": "assistant",
    "response": "assistant",
    "system": "system",
    "tool": "tool",
}
_END = re.compile(
    r"(?:<\|(?:im_end|eot_id|eot|endoftext|end_of_text|end|eom_id|END_OF_TURN_TOKEN)\|>|</s>|<end_of_turn>|<eos>"
    r"|<｜end▁of▁sentence｜>)\s*\Z"
)
_CONTROL_END = re.compile(
    r"(?:<\|(?:im_end|eot_id|endoftext|end_of_text)\|>|<end_of_turn>|<｜end▁of▁sentence｜>)\s*\Z"
)
_BEGIN = re.compile(
    r"\A\s*(?:<\|begin_of_text\|>|<s>|<bos>|<\|endoftext\|>|<｜begin▁of▁sentence｜>|<BOS_TOKEN>|\[gMASK\]<sop>)?\s*"
)
_SYSTEM = re.compile(r"\A\s*<<SYS>>(.*?)<</SYS>>", re.DOTALL)
_SYSTEM_PROMPT = re.compile(r"\A\[SYSTEM_PROMPT\](.*?)\[/SYSTEM_PROMPT\]\s*\[INST\]", re.DOTALL)
_CONTROL = re.compile(
    r"\s*(<[|｜][^\s<>|｜]{0,40}[|｜]>\s{0,9}(?:system|developer|user|human|assistant|model|bot)\b"
    r"|<[|｜][^\s<>|｜]{0,40}(?:system|user|human|assistant)[^\s<>|｜]{0,40}[|｜]>|<\|channel\|>)"
)
_ADJACENT = re.compile(r"""['"\d.]\s+['"\d]""")
_LONGEST, _DEEPEST = 1 << 20, 50


@dataclass(frozen=True)
class _Style:
    """The style of a dialogue: a mark before each turn, with the role as its group.

    `alone`: one mark is enough. A control string never appears by chance, but a question may begin with
    `Human:`.
    """

    mark: re.Pattern[str]
    alone: bool = True


_STYLES = (
    _Style(re.compile(r"(?:\A|\n\n)(Human|Assistant):"), alone=False),
    _Style(re.compile(r"(?:\A|\n)(Human|Assistant):"), alone=False),
    _Style(re.compile(r"(?:\A|\n\n?)(User|Assistant|System):"), alone=False),
    _Style(re.compile(r"(?:\A|\s)(USER|ASSISTANT|SYSTEM):"), alone=False),
    _Style(re.compile(r"(?:\A|\s)(Human|User|Assistant|System):"), alone=False),
    _Style(re.compile(r"### ?(Human|User|Assistant|System):"), alone=False),
    _Style(re.compile(r"(?:\A|\n)<(human|bot)>:")),
    _Style(re.compile(r"(?:\A|<\|end_of_turn\|>)GPT4 Correct (User|Assistant):")),
    _Style(re.compile(r"<extra_id_[01]>(System|User|Assistant)\n?")),  # HelpSteer
    _Style(re.compile(r"<\|im_start\|>(system|user|assistant|tool)(?:\n|<\|im_sep\|>)?")),
    _Style(re.compile(r"<\|start_header_id\|>(system|user|assistant|tool)<\|end_header_id\|>")),
    _Style(re.compile(r"<\|header_start\|>(system|user|assistant|tool)<\|header_end\|>")),
    _Style(re.compile(r"<\|start_of_role\|>(system|user|assistant|tool)<\|end_of_role\|>")),
    _Style(re.compile(r"<｜(User|Assistant)｜>")),
    _Style(re.compile(r"<\|START_OF_TURN_TOKEN\|><\|(SYSTEM|USER|CHATBOT)_TOKEN\|>")),
    _Style(re.compile(r"<\|(system|user|assistant)\|>")),
    _Style(re.compile(r"<start_of_turn>(user|model)\n?")),
    _Style(re.compile(r"(\[/?INST\])")),
    _Style(re.compile(r"<\|(prompter|assistant)\|>")),
    _Style(re.compile(r"(?:\A|\n)### (Instruction|Input|Response):\n?"), alone=False),
)
_PREFACE = re.compile(
    r"\ABelow is an instruction that describes a task[^\n]*\n\s*(?=### Instruction:)"
    r"|\AA chat between a curious (?:user|human) and an artificial intelligence assistant\.[^\n]*?\s(?=USER:)"
)
"""What Alpaca's and Vicuna's templates write before the first turn."""


def dialogue_of(text: str) -> tuple[Message, ...] | None:
    """Returns the turns of a text that is a dialogue, or `None` for any other text.

    White space around a turn and the strings that end it are removed.
    """
    body = _PREFACE.sub("", _BEGIN.sub("", text, count=1), count=1)
    if "<extra_id_1>" in body and not body.startswith("<extra_id_"):
        body = f"<extra_id_1>User\n{body}"  # HelpSteer leaves out the first mark
    body = _SYSTEM_PROMPT.sub(r"[INST]<<SYS>>\1<</SYS>>", body, count=1)
    for style in _STYLES:
        if not style.mark.match(body):
            continue
        _, *parts = style.mark.split(body)
        roles = [_ROLES[role.lower()] for role in parts[::2]]
        marked = "assistant" in roles or {"system", "user"} <= {*roles} or text.startswith("\n\nHuman:")
        if not style.alone and not marked:
            continue
        turns: list[Message] = []
        for role, turn in zip(roles, parts[1::2], strict=True):
            system = _SYSTEM.match(turn)
            if system:
                turns.append(Message("system", system[1].strip()))
                turn = turn[system.end() :]
            said = without_end(turn).strip()
            if role == "input":  # Alpaca's second part of a question
                if turns and turns[-1].role == "user":
                    turns[-1] = Message("user", f"{turns[-1].content}\n\n{said}")
                continue
            turns.append(Message(role, said))  # type: ignore[arg-type]
        return tuple(turns)
    return None


def check_marks(text: str, what: str) -> None:
    """Refuses a text that begins with a control string of an unknown chat format.

    Raises:
        DemonstrationError: it does; its roles would become part of the prompt or the answer.
    """
    found = _CONTROL.match(text)
    if found:
        raise DemonstrationError(
            f"the {what} begins with {found[1]!r}, a mark of an unknown chat format: give messages with "
            "'role' and 'content', or the text without marks"
        )


def without_end(text: str) -> str:
    """Returns a text without the strings that end a turn, such as `<|im_end|>`."""
    while found := _END.search(text[-64:]):
        text = text[: max(len(text) - 64, 0) + found.start()]
    return text


def without_control_end(text: str) -> str:
    """Returns a text without a control string of a chat format at its end; other text is unchanged."""
    return _CONTROL_END.sub("", text) if _CONTROL_END.search(text[-64:]) else text


def value_of(text: str) -> Any:
    """Returns the list or object that a cell contains as JSON or as Python's `repr`, or `None`.

    NumPy's printed arrays have no commas between objects; they are read too.
    """
    body = text.strip()
    if body[:1] not in ("[", "{") or body[-1:] not in ("]", "}"):
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        pass
    if len(body) > _LONGEST or not _shallow(body):
        return None
    for source in (_separated(body), re.sub(r"\}\s*\n\s*\{", "}, {", body)):
        try:
            return ast.literal_eval(source)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return None


def _separated(text: str) -> str:
    """Puts commas between texts and between numbers, which NumPy prints without them."""
    if not _ADJACENT.search(text):
        return text
    parts: list[str] = []
    before = None
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in (tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER):
                continue
            single = token.type in (tokenize.STRING, tokenize.NUMBER)
            parts.append(f", {token.string}" if single and before == token.type else token.string)
            before = token.type if single else None
    except (tokenize.TokenError, SyntaxError, ValueError):
        return text
    return " ".join(parts)


def unescaped(text: str) -> str:
    """Returns a text with its HTML entities undone."""
    return html.unescape(text)


def text_of_html(text: str) -> str:
    """Returns the text of an HTML fragment: paragraphs are separated, code is unchanged."""
    parser = _Text()
    parser.feed(text)
    parser.close()
    return re.sub(r"\n{3,}", "\n\n", "".join(parser.parts)).strip()


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.parts.append({"br": "\n", "li": "\n- "}.get(tag, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("p", "pre", "blockquote", "ul", "ol", "h1", "h2", "h3", "div"):
            self.parts.append("\n\n")


def _shallow(text: str) -> bool:
    depth = deepest = 0
    for char in text:
        if char in "[{(":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]})":
            depth -= 1
    return deepest <= _DEEPEST
