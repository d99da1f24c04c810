"""Prompt files."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains.demonstrations.files.read_prompts import read_prompts
from icdpo_chains.errors import UnknownFormatError
from icdpo_chains.messages import Message

HI = (Message("user", "Hi"),)


def read(path: Path) -> tuple[list[Any], list[int]]:
    refused: list[Any] = []
    return list(read_prompts(path, on_refused=refused.append)), [row.line for row in refused]


def rows(*items: Any) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def test_a_text_file_has_a_prompt_a_line(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes("\ufeffOne {x}\r\n\n  Two \n".encode() + b"\xff\n" + b"Three")
    assert read(file) == (["One {x}", "Two", "Three"], [4])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings_are_read_as_in_preference_files(tmp_path: Path, encoding: str) -> None:
    """PowerShell writes UTF-16: each line looked like a prompt with zeros between its letters."""
    file, lines = tmp_path / "prompts.txt", tmp_path / "prompts.jsonl"
    file.write_text("One é\nTwo\n", encoding)
    lines.write_text('{"prompt": "One é"}\n{"prompt": "Two"}\n', encoding)
    assert read(file) == read(lines) == (["One é", "Two"], [])


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"prompt": "Hi"}, "Hi"),
        ({"prompt": [{"role": "user", "content": "Hi"}]}, HI),
        ({"conversations": [{"from": "human", "value": "Hi"}]}, HI),
        ({"prompt": "Hi", "chosen": "Hello", "rejected": "Hello"}, "Hi"),
        ({"prompt": "Hi", "chosen": None, "rejected": "any"}, "Hi"),
        ({"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "\n\nHuman: Hi\n\nAssistant: No"}, HI),
    ],
)
def test_rows_need_no_answers(tmp_path: Path, row: dict[str, Any], prompt: Any) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_bytes(rows(row))
    assert read(file) == ([prompt], [])


def test_rows_that_can_not_be_used_are_refused(tmp_path: Path) -> None:
    bad = [{"question": "Hi"}, {"prompt": " "}, ["Hi"], {"prompt": None}, {"prompt": {"role": "user"}}]
    file = tmp_path / "prompts.jsonl"
    file.write_bytes(rows(*bad, {"prompt": "Hi"}) + b'{"prompt": "H')
    assert read(file) == (["Hi"], [1, 2, 3, 4, 5, 7])


def test_other_formats_are_preference_files(tmp_path: Path) -> None:
    array, table = tmp_path / "a.json", tmp_path / "a.csv"
    array.write_text('[{"prompt": "One"}, {"prompt": "Two"}]')
    table.write_text("prompt,chosen\nHi,Hello\n")
    packed = tmp_path / "a.txt.gz"
    packed.write_bytes(gzip.compress(b"One\nTwo\n"))
    assert read(array) == read(packed) == (["One", "Two"], [])
    assert read(table) == (["Hi"], [])


def test_what_is_no_prompt_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nowhere.txt")
    with pytest.raises(UnknownFormatError, match="directory"):
        read(tmp_path)
    (tmp_path / "a.docx").touch()
    with pytest.raises(UnknownFormatError, match=r"\.docx"):
        read(tmp_path / "a.docx")


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Why?", "response_a": "So.", "response_b": "No.", "label": 1},
        {"question": "Why?", "responses": ["So.", "No."], "chosen": 1},
        {"question": "Why?", "response": "So.", "rating": 3},
    ],
    ids=str,
)
def test_a_prompt_needs_no_verdict_that_the_whole_file_explains(tmp_path: Path, row: dict[str, Any]) -> None:
    (tmp_path / "x.jsonl").write_bytes(rows(row))
    assert read(tmp_path / "x.jsonl") == (["Why?"], [])
