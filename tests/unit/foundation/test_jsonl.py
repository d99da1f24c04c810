"""A file of records survives a stop at any byte, and never mixes two runs."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.foundation.jsonl import ResumableFile

SETTINGS = {"seed": 1, "model": "tiny"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "records.jsonl"


def test_what_was_written_is_there_again(path: Path) -> None:
    with ResumableFile(path, SETTINGS) as file:
        file.append("a", {"text": "one\nline \u2028 é", "score": float("nan")})
    with ResumableFile(path, SETTINGS) as file:
        assert file.records == {"a": {"key": "a", "text": "one\nline \u2028 é", "score": None}}
        file.append("b", {})
    assert ResumableFile.read(path) == (
        SETTINGS,
        [{"key": "a", "text": "one\nline \u2028 é", "score": None}, {"key": "b"}],
    )


@given(st.lists(st.text(max_size=20), max_size=4, unique=True), st.data())
@settings(max_examples=40, deadline=None)
def test_a_stop_at_any_byte_loses_the_torn_record_alone(
    tmp_path_factory: pytest.TempPathFactory, keys: list[str], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("stop") / "records.jsonl"
    with ResumableFile(path, SETTINGS) as file:
        for key in keys:
            file.append(key, {"text": key * 2})
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    whole = max(0, content[:cut].count(b"\n") - 1)  # less the line of the settings
    with ResumableFile(path, SETTINGS) as file:
        assert list(file.records) == keys[:whole]
        for key in keys[whole:]:
            file.append(key, {"text": key * 2})
    assert path.read_bytes() == content


def test_other_settings_are_refused_and_named(path: Path) -> None:
    with ResumableFile(path, SETTINGS) as file:
        file.append("a", {})
    before = path.read_bytes()
    with pytest.raises(InvalidInputError, match=r"seed: 1, now 2.*another file"):
        ResumableFile(path, {**SETTINGS, "seed": 2})
    assert path.read_bytes() == before


def test_a_key_is_written_once(path: Path) -> None:
    with ResumableFile(path, SETTINGS) as file:
        file.append("a", {})
        with pytest.raises(ValueError, match="already contains a record 'a'"):
            file.append("a", {})


def test_one_process_writes(path: Path) -> None:
    with (
        ResumableFile(path, SETTINGS),
        pytest.raises(InvalidInputError, match="is open in another process"),
    ):
        ResumableFile(path, SETTINGS)
    with ResumableFile(path, SETTINGS) as file:  # and is let go
        file.append("a", {})


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b'{"prompt": "a", "chosen": "b"}\n', "its first line has no settings"),
        (b'{"settings": 3}\n', "its first line has no settings"),
        (b"\xff\xfe\n", "was not written by icdpo"),
        (b'{"settings": {}}\n[1]\n', "line 2: not a JSON object"),
        (b'{"settings": {}}\n{"text": 1}\n', "line 2: a record without a unique key"),
        (b'{"settings": {}}\n{"key": "a"}\n{"key": "a"}\n', "line 3: a record without a unique key"),
    ],
)
def test_another_file_is_refused_and_left_alone(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "other.jsonl"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=match):
        ResumableFile(path, {})
    with pytest.raises(InvalidInputError, match=match):
        ResumableFile.read(path)
    assert path.read_bytes() == content


def test_every_line_is_plain_json(path: Path) -> None:
    with ResumableFile(path, SETTINGS) as file:
        file.append("é", {"text": "\ud83d\ude00"})
    assert path.read_bytes().isascii()
    assert [set(json.loads(line)) for line in path.read_text().splitlines()] == [
        {"settings"},
        {"key", "text"},
    ]
