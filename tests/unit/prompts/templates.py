"""The chat templates of fifteen model families, in words of our own, with tokenizers of bytes."""

from __future__ import annotations

import copy
import re
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from icdpo_chains.policies.fake import byte_tokenizer

DIRECTORY = Path(__file__).with_name("chat_templates")
FAMILIES = sorted(path.stem for path in DIRECTORY.glob("*.jinja"))
_CONTROL = re.compile(
    r"<\|\w+\|>|<｜[^｜]+｜>|\[/?[A-Z_]+\]|\[gMASK\]|<sop>"
    r"|</?(?:think|tool_call|tool_response|start_of_turn|end_of_turn|end_of_utterance|start_of_image|image)>"
)
_ENDS = {
    "command_r": "<|END_OF_TURN_TOKEN|>",
    "deepseek_r1": "<｜end▁of▁sentence｜>",
    "gemma2": "<end_of_turn>",
    "gemma3": "<end_of_turn>",
    "glm4": "<|user|>",
    "gpt_oss": "<|end|>",
    "granite3": "<|end_of_text|>",
    "llama3": "<|eot_id|>",
    "phi3": "<|end|>",
    "smolvlm": "<end_of_utterance>",
}


@cache
def family_tokenizer(family: str) -> Any:
    """A tokenizer whose tokens are bytes and the control tokens that a family's template writes."""
    template = (DIRECTORY / f"{family}.jinja").read_text("utf-8")
    controls = {found[0] for found in _CONTROL.finditer(template)} - {"[TOOL_CALLS][", "[INST"}
    if family == "phi3":
        controls |= {"<|user|>", "<|system|>"}
    tokenizer = copy.deepcopy(byte_tokenizer())
    tokenizer.backend_tokenizer.add_special_tokens(
        [
            AddedToken(control, special=not control.startswith(("<think", "</", "<tool")))
            for control in sorted(controls)
        ]
    )
    tokenizer = type(tokenizer)(
        tokenizer_object=tokenizer.backend_tokenizer,
        bos_token="<|im_start|>",
        eos_token=_ENDS.get(family, "<|im_end|>"),
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = template
    return tokenizer
