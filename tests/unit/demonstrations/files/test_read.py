"""Preference files of every format, whole, broken and hostile."""

from __future__ import annotations

import bz2
import contextlib
import csv
import gzip
import io
import json
import logging
import lzma
import sys
import threading
import tracemalloc
import types
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files import (
    ReadReport,
    RefusedRow,
    byte_source,
    csv_rows,
    json_rows,
    read_demonstrations,
    text_lines,
)
from icdpo_chains.demonstrations.files.sources import FORMATS
from icdpo_chains.errors import UnknownFormatError


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


Rows = list[dict[str, Any]]


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


EXPECTED = [Demonstration(f"Question {i}?", f"Good, {i}\nand kind 🦊", f'"Bad" {i}') for i in range(3)]
SHAPES: dict[str, Rows] = {
    "explicit": [{"prompt": d.prompt, "chosen": d.chosen, "rejected": d.rejected} for d in EXPECTED],
    "conversational": [
        {"prompt": [user(d.prompt)], "chosen": [said(d.chosen)], "rejected": [said(d.rejected)]}
        for d in EXPECTED
    ],
    "implicit": [
        {"chosen": [user(d.prompt), said(d.chosen)], "rejected": [user(d.prompt), said(d.rejected)]}
        for d in EXPECTED
    ],
    "transcripts": [
        {
            "chosen": f"\n\nHuman: {d.prompt}\n\nAssistant: {d.chosen}",
            "rejected": f"\n\nHuman: {d.prompt}\n\nAssistant: {d.rejected}",
        }
        for d in EXPECTED
    ],
    "sharegpt": [
        {
            "conversations": [{"from": "human", "value": d.prompt}],
            "chosen": {"from": "gpt", "value": d.chosen},
            "rejected": {"from": "gpt", "value": d.rejected},
        }
        for d in EXPECTED
    ],
}
NAMES = [
    *("prompt", "question", "chosen", "rejected", "messages", "role", "content", "from", "value", "answers"),
    *("response_a", "response_b", "winner", "label", "completion", "data", "annotations", "result", "fields"),
    *(
        "responses",
        "inputs",
        "outputs",
        "feedback",
        "score",
        "scores",
        "rank",
        "history",
        "system",
        "context",
    ),
    *(
        "input",
        "output",
        "row",
        "row_idx",
        "replies",
        "text",
        "attributes",
        "rating",
        "metadata",
        "preference",
    ),
]
GOOD = {"prompt": "a", "chosen": "b", "rejected": "c"}
LINE = json.dumps(GOOD).encode() + b"\n"


def encoded(rows: Rows, suffix: str) -> bytes:
    if suffix == ".json":
        return json.dumps(rows, indent=1).encode()
    if suffix == ".parquet":
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), buffer)
        return buffer.getvalue()
    if suffix in (".arrow", ".feather"):
        buffer = io.BytesIO()
        feather.write_feather(pa.Table.from_pylist(rows), buffer, compression="uncompressed")
        return buffer.getvalue()
    if suffix in (".csv", ".tsv"):
        text = io.StringIO()
        writer = csv.writer(text, delimiter="," if suffix == ".csv" else "\t")
        writer.writerow(rows[0])
        for row in rows:
            writer.writerow(value if isinstance(value, str) else json.dumps(value) for value in row.values())
        return text.getvalue().encode()
    assert suffix in (".jsonl", ".ndjson"), "a new format needs a writer here"
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def read(path: Path, data: bytes) -> tuple[list[Demonstration], list[tuple[int, str]]]:
    path.write_bytes(data)
    refused: list[RefusedRow] = []
    demonstrations = list(read_demonstrations(path, on_refused=refused.append))
    assert all(row.path == str(path) for row in refused)
    return demonstrations, [(row.line, row.reason) for row in refused]


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_format_holds_every_shape(tmp_path: Path, shape: str, suffix: str, compressed: bool) -> None:
    data = encoded(SHAPES[shape], suffix)
    path = tmp_path / f"Data.v1{suffix.upper()}{'.gz' if compressed else ''}"
    demonstrations, refused = read(path, gzip.compress(data) if compressed else data)
    assert [d.id for d in demonstrations] == [d.id for d in EXPECTED]
    assert refused == []


@pytest.mark.parametrize("suffix", FORMATS)
def test_compression_is_told_by_the_content_not_by_the_name(tmp_path: Path, suffix: str) -> None:
    data = encoded(SHAPES["explicit"], suffix)
    assert read(tmp_path / f"a{suffix}", gzip.compress(data)) == (EXPECTED, [])
    assert read(tmp_path / f"b{suffix}.gz", data) == (EXPECTED, [])


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
answers = st.one_of(
    text, st.sampled_from(["\x00", "{x}", "{{", "{% raw %}", "<|im_end|>", "\r\n", "\u2028"])
).map(lambda answer: answer + ".")
turns = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), answers), max_size=4)
prompts = st.one_of(
    answers, turns.map(lambda t: [*({"role": role, "content": content} for role, content in t), user("?")])
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
demonstrations_of_any_text = st.builds(
    lambda prompt, chosen, worse, metadata: Demonstration(prompt, chosen, worse and worse + "!", metadata),
    prompts,
    answers,
    st.none() | answers,
    st.dictionaries(text, json_values, max_size=3),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(demonstrations_of_any_text, max_size=4), st.sampled_from([".jsonl", ".json"]), st.booleans())
def test_what_to_dict_gives_is_read_back_exactly(
    tmp_path: Path, demonstrations: list[Demonstration], suffix: str, escaped: bool
) -> None:
    rows = [json.dumps(d.to_dict(), ensure_ascii=escaped) for d in demonstrations]
    written = "[" + ",".join(rows) + "]" if suffix == ".json" else "".join(row + "\n" for row in rows)
    assert read(tmp_path / f"x{suffix}", written.encode()) == (demonstrations, [])


def test_a_row_of_csv_keeps_metadata_and_a_missing_rejected_answer(tmp_path: Path) -> None:
    data = b'prompt,chosen,rejected,metadata,score,,\r\na,b,,"{""topic"": ""t""}",1.5,,\r\na,[1],{x},,,3,\r\n'
    demonstrations, refused = read(tmp_path / "x.csv", data)
    assert demonstrations == [
        Demonstration("a", "b", None, {"topic": "t", "score": "1.5"}),
        Demonstration("a", "[1]", "{x}"),
    ]
    assert refused == []


@pytest.mark.parametrize(
    ("suffix", "limit", "compressed"),
    [
        pytest.param(".jsonl", 2, False, id="jsonl"),
        pytest.param(".json", 2, True, id="json.gz"),
        *(
            pytest.param(
                suffix, limit, compressed, id=f"{suffix[1:]}{'.gz' * compressed}", marks=pytest.mark.slow
            )
            for suffix, limit, compressed in [
                (".jsonl", 2, True),
                (".json", 2, False),
                (".csv", 2, False),
                (".csv", 2, True),
                (".parquet", 8, False),
                (".parquet", 8, True),
            ]
        ),
    ],
)
def test_the_first_row_of_a_large_file_costs_little(
    tmp_path: Path, suffix: str, limit: int, compressed: bool
) -> None:
    path = tmp_path / f"x{suffix}"
    rows = [{"prompt": f"{i} " + "long " * 1_600, "chosen": "b", "rejected": "c"} for i in range(4_000)]
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=200)
    else:
        path.write_bytes(encoded(rows, suffix))
    size = path.stat().st_size
    if compressed:
        path.write_bytes(gzip.compress(path.read_bytes(), 1))
    del rows
    next(read_demonstrations(path))  # imports what is imported once
    tracemalloc.start()
    try:
        demonstrations = read_demonstrations(path)
        assert next(demonstrations).chosen == "b"
        assert tracemalloc.get_traced_memory()[1] < limit * 1_000_000
        # All the others pass through the same little memory.
        assert sum(1 for _ in demonstrations) == 3_999
        assert tracemalloc.get_traced_memory()[1] < limit * 1_000_000
    finally:
        tracemalloc.stop()
    assert suffix == ".parquet" or size > 30_000_000


def test_nothing_is_opened_before_the_first_row_and_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(LINE)
    demonstrations = read_demonstrations(path)
    path.write_bytes(LINE * 2)
    assert len(list(demonstrations)) == 2
    abandoned = read_demonstrations(path)
    next(abandoned)
    del abandoned  # an open file would be a ResourceWarning here
    path.unlink()


def test_a_file_that_vanished_before_the_first_row(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(LINE)
    demonstrations = read_demonstrations(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        next(demonstrations)


def test_bad_lines_are_refused_and_the_import_goes_on(tmp_path: Path) -> None:
    lines = [
        json.dumps(GOOD),
        "",
        json.dumps({**GOOD, "rejected": "b"}),
        '{"prompt": "a", "chosen"',
        "[1, 2]",
        "7",
        '{"prompt": "a", "chosen": "\\ud800"}',
        "[" * 100_000,
        '{"prompt": "a", "chosen": "b", "n": ' + "9" * 5_000 + "}",
        json.dumps({"question": "a", "answer": "b"}),
        json.dumps({**GOOD, "prompt": "z"}),
        '{"prompt": "the file was cut o',
    ]
    demonstrations, refused = read(tmp_path / "x.jsonl", "\n".join(lines).encode())
    assert [d.prompt for d in demonstrations] == ["a", "z"]
    assert [line for line, _ in refused] == [3, 4, 5, 6, 7, 8, 9, 10, 12]
    reasons = [reason for _, reason in refused]
    assert "the same" in reasons[0]
    assert "not valid JSON" in reasons[1]
    assert "lone surrogate" in reasons[4]
    assert "'question', 'answer'" in reasons[7]
    assert "truncated" in reasons[8]


def test_a_pair_of_transcripts_without_a_common_prompt_is_refused_with_its_line(tmp_path: Path) -> None:
    rows = json.loads(json.dumps(SHAPES["transcripts"]))
    rows[1]["rejected"] = "\n\nHuman: Another question.\n\nAssistant: Bad."
    demonstrations, refused = read(tmp_path / "x.jsonl.gz", gzip.compress(encoded(rows, ".jsonl")))
    assert [d.id for d in demonstrations] == [EXPECTED[0].id, EXPECTED[2].id]
    assert [line for line, _ in refused] == [2]
    assert "differ from turn 1 on" in refused[0][1]


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_byte_order_mark_crlf_and_blank_lines(tmp_path: Path, suffix: str) -> None:
    data = encoded(SHAPES["conversational"], suffix).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    demonstrations, refused = read(
        tmp_path / f"x{suffix}", b"\xef\xbb\xbf" + data + b"\r\n \r\n"[: 2 * len(data)]
    )
    assert [d.id for d in demonstrations] == [d.id for d in EXPECTED]
    assert [reason for _, reason in refused if suffix != ".csv"] == []


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv"])
@pytest.mark.parametrize("data", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_holds_nothing(tmp_path: Path, suffix: str, data: bytes, compressed: bool) -> None:
    if suffix in (".csv", ".tsv"):
        data = data.replace(b" ", b"")
    assert read(tmp_path / f"x{suffix}", gzip.compress(data) if compressed else data) == ([], [])


def test_an_empty_array_or_table_holds_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "x.json", b" [ ] \n") == ([], [])
    assert read(tmp_path / "x.csv", b"prompt,chosen\n") == ([], [])
    table = pa.table({"prompt": pa.array([], pa.string()), "chosen": pa.array([], pa.string())})
    pq.write_table(table, tmp_path / "x.parquet")
    assert list(read_demonstrations(tmp_path / "x.parquet")) == []


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
@pytest.mark.parametrize(
    "data",
    [LINE * 2, b"[" + LINE + b"," + LINE + b"]", b"\n\n " + LINE + b"\n" + LINE.strip()],
    ids=["lines", "array", "blank"],
)
def test_json_is_told_by_its_content(tmp_path: Path, suffix: str, data: bytes) -> None:
    assert read(tmp_path / f"x{suffix}", data) == ([Demonstration("a", "b", "c")] * 2, [])


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_one_object_is_one_row(tmp_path: Path, indent: int | None) -> None:
    expected = ([Demonstration("a", "b", "c")], [])
    assert read(tmp_path / "x.json", json.dumps(GOOD, indent=indent).encode()) == expected


@pytest.mark.parametrize(
    ("rest", "line", "reason"),
    [
        (b"", 2, "neither a comma nor an end"),
        (b",", 2, "Expecting value"),
        (b',{"prompt": "a', 2, "Unterminated string"),
        (b"{}]", 2, "neither a comma nor an end"),
        (b",]", 2, "Expecting value"),
        (b', {"a" 3}, {"a": 3}]', 2, "':' delimiter"),
        (b', {"a": "\n"}]', 2, "control character"),
        (b"] [", 2, "more text after the array"),
        (b"," + b"[" * 100_000, 2, "recursion"),
    ],
)
def test_a_broken_array_gives_what_stands_before(tmp_path: Path, rest: bytes, line: int, reason: str) -> None:
    demonstrations, refused = read(tmp_path / "x.json", b"[" + LINE + rest)
    assert demonstrations == [Demonstration("a", "b", "c")]
    assert [number for number, _ in refused] == [line]
    assert reason in refused[0][1]


def test_elements_of_an_array_that_are_no_rows_are_refused_by_their_number(tmp_path: Path) -> None:
    # A number at the end of what was read so far may go on: the padding puts it there.
    padding = b" " * ((1 << 16) - 2 - len(LINE) - 1)
    demonstrations, refused = read(
        tmp_path / "x.json", b"[" + LINE + b"," + padding + b"12345, null,\xff" + b"]"
    )
    assert len(demonstrations) == 1
    assert [(line, reason[:16]) for line, reason in refused[:2]] == [
        (2, "the row is a int"),
        (3, "the row is a Non"),
    ]
    assert refused[0][1].endswith("12345")
    assert refused[2][0] == 4


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_a_row_that_is_not_utf8_is_refused_alone(tmp_path: Path, suffix: str) -> None:
    rows = [{**GOOD, "prompt": prompt} for prompt in ("é", "LATIN", "z")]
    data = encoded(rows, suffix).replace(b"LATIN", "é\nü".encode("latin-1") if suffix == ".csv" else b"\xe9")
    data = data.replace(b"\xe9\n\xfc", b'"\xe9\n\xfc"')
    demonstrations, refused = read(tmp_path / f"x{suffix}", data)
    assert [d.prompt for d in demonstrations] == ["é", "z"]
    assert [line for line, _ in refused] == [3 if suffix == ".csv" else 2]
    assert "0xe9" in refused[0][1]
    assert "UTF-8" in refused[0][1]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_wide_text_is_told_by_its_mark_or_its_zeros(tmp_path: Path, suffix: str, encoding: str) -> None:
    data = encoded(SHAPES["explicit"], suffix).decode().encode(encoding)
    assert read(tmp_path / f"x{suffix}", data) == (EXPECTED, [])
    assert read(tmp_path / f"x{suffix}.gz", gzip.compress(data)) == (EXPECTED, [])


def test_wide_text_that_breaks_off_gives_what_stands_before(tmp_path: Path) -> None:
    data = (LINE * 2).decode().encode("utf-16")
    demonstrations, refused = read(tmp_path / "x.jsonl", data[:-1])
    assert len(demonstrations) >= 1
    assert "utf-16 from here on" in refused[-1][1]


def test_a_table_in_windows_1252_is_read(tmp_path: Path) -> None:
    data = "prompt;chosen;rejected\nOù ?;Là-bas – à gauche;Non\n".encode("cp1252")
    report = ReadReport()
    (tmp_path / "x.csv").write_bytes(data)
    (found,) = read_demonstrations(tmp_path / "x.csv", report=report)
    assert (found.prompt, found.chosen) == ("Où ?", "Là-bas – à gauche")
    assert report.notes == {"the text was cp1252": 1}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", ["", "sep", "bom"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ""])
def test_the_delimiter_is_told_by_the_header(tmp_path: Path, delimiter: str, mark: str, suffix: str) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([GOOD.keys(), ["a; b, c\td|e", "b", "c"]])
    data = text.getvalue().encode()
    data = {"": b"", "sep": f"sep={delimiter}\r\n".encode(), "bom": b"\xef\xbb\xbf"}[mark] + data
    assert read(tmp_path / f"x{suffix}", data) == ([Demonstration("a; b, c\td|e", "b", "c")], [])


@pytest.mark.parametrize(
    "document",
    [
        {"version": 1, "data": [GOOD, GOOD]},
        {"train": [GOOD], "test": [GOOD]},
        {"features": [], "rows": [{"row_idx": i, "row": GOOD} for i in range(2)]},
        {name: [value, value] for name, value in GOOD.items()},
        {name: {"0": value, "1": value} for name, value in GOOD.items()},
        {"0": GOOD, "1": GOOD},
        {"columns": list(GOOD), "index": [0, 1], "data": [list(GOOD.values())] * 2},
    ],
    ids=["data", "splits", "viewer", "columns", "pandas", "pandas index", "pandas split"],
)
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_a_document_that_holds_the_rows(
    tmp_path: Path, document: Any, indent: int | None, suffix: str
) -> None:
    data = json.dumps(document, indent=indent).encode()
    assert read(tmp_path / f"x{suffix}", data) == ([Demonstration("a", "b", "c")] * 2, [])


def test_objects_over_several_lines_one_after_the_other(tmp_path: Path) -> None:
    data = "\n".join(json.dumps(GOOD, indent=2) for _ in range(3)).encode()
    assert read(tmp_path / "x.jsonl", data) == ([Demonstration("a", "b", "c")] * 3, [])


def test_single_quotes_are_named(tmp_path: Path) -> None:
    demonstrations, refused = read(tmp_path / "x.jsonl", repr(GOOD).encode())
    assert demonstrations == []
    assert "single quotes" in refused[0][1]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd])
@pytest.mark.parametrize("suffix", FORMATS)
def test_every_compression_is_told_by_its_first_bytes(tmp_path: Path, suffix: str, pack: Any) -> None:
    data = encoded(SHAPES["explicit"], suffix)
    assert read(tmp_path / f"x{suffix}", pack(data)) == (EXPECTED, [])


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_a_truncated_stream_of_any_kind_is_one_refusal_at_most(tmp_path: Path, pack: Any) -> None:
    packed = pack(
        b"".join(json.dumps({**GOOD, "prompt": f"{i * 7919}"}).encode() + b"\n" for i in range(2_000))
    )
    demonstrations, refused = read(tmp_path / "x.jsonl", packed[: len(packed) // 2])
    assert len(demonstrations) < 2_000
    assert len(refused) == 1


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_a_bomb_is_stopped(tmp_path: Path, pack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_source, "_BOMB_BYTES", 1 << 20)
    packed = pack(LINE + b" " * (8 << 20) + b"\n" + LINE)
    demonstrations, refused = read(tmp_path / "x.jsonl", packed)
    assert len(demonstrations) == 1
    assert "times its size" in refused[0][1]


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return path


def test_an_archive_is_read_member_by_member(tmp_path: Path) -> None:
    members = {f"rows/x{suffix}": encoded(SHAPES["explicit"], suffix) for suffix in FORMATS}
    others = {"README.md": b"# rows", "__MACOSX/._x.jsonl": b"\x00", "y.jsonl": b'{"a": 1}\n'}
    path = archive(tmp_path / "x.zip", {**members, **others})
    refused: list[RefusedRow] = []
    demonstrations = list(read_demonstrations(path, on_refused=refused.append))
    assert [d.id for d in demonstrations] == [d.id for d in EXPECTED] * len(FORMATS)
    assert [row.path for row in refused] == [f"{path}/y.jsonl"]
    assert "no known shape" in refused[0].reason


def test_a_bomb_in_an_archive_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_source, "_BOMB_BYTES", 1 << 20)
    path = archive(tmp_path / "x.zip", {"x.jsonl": LINE + b" " * (8 << 20) + b"\n" + LINE})
    refused: list[RefusedRow] = []
    assert len(list(read_demonstrations(path, on_refused=refused.append))) == 1
    assert "times its size" in refused[0].reason


def test_an_archive_without_rows_or_under_another_name_is_refused_by_its_kind(tmp_path: Path) -> None:
    with pytest.raises(UnknownFormatError, match="has no file of a known format"):
        read_demonstrations(archive(tmp_path / "x.zip", {"a.txt": b"a"}))
    with pytest.raises(UnknownFormatError, match="zip archive or an Excel workbook"):
        read_demonstrations(archive(tmp_path / "x.jsonl", {"a.jsonl": LINE}))
    (tmp_path / "y.zip").write_bytes(b"PK\x03\x04" + b"\0" * 40)
    with pytest.raises(UnknownFormatError, match="not a readable zip archive"):
        read_demonstrations(tmp_path / "y.zip")
    (tmp_path / "y.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(UnknownFormatError, match="Excel workbook"):
        read_demonstrations(tmp_path / "y.xlsx")


@pytest.mark.parametrize("stream", [True, False])
def test_an_arrow_file_is_read(tmp_path: Path, stream: bool) -> None:
    table = pa.Table.from_pylist(SHAPES["conversational"])
    buffer = io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(buffer, table.schema) as writer:
        writer.write_table(table)
    demonstrations, refused = read(tmp_path / "x.arrow", buffer.getvalue())
    assert [d.id for d in demonstrations] == [d.id for d in EXPECTED]
    assert refused == []


def test_a_directory_and_a_pattern_give_the_files_in_them(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("a/1.jsonl", "a/b/2.jsonl", "a/.hidden.jsonl", "a/notes.md"):
        (tmp_path / name).write_bytes(LINE)
    assert len(list(read_demonstrations(tmp_path / "a"))) == 2
    assert len(list(read_demonstrations(f"{tmp_path}/a/*.jsonl"))) == 1
    assert len(list(read_demonstrations(f"{tmp_path}/a/**/*.jsonl"))) == 2


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(LINE)

    monkeypatch.setattr("sys.stdin", Stdin)
    assert len(list(read_demonstrations("-"))) == 1


def test_a_data_set_of_the_hub_is_streamed_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load_dataset(name: str, configuration: str | None, **options: Any) -> list[dict[str, Any]]:
        asked.append((name, configuration, options["split"]))
        return [GOOD]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    assert len(list(read_demonstrations("some-org/some-data"))) == 1
    assert len(list(read_demonstrations("some-org/some-data@test"))) == 1
    assert len(list(read_demonstrations("some-org/some-data:en@test"))) == 1
    assert asked == [
        ("some-org/some-data", None, "train"),
        ("some-org/some-data", None, "test"),
        ("some-org/some-data", "en", "test"),
    ]
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UnknownFormatError, match=r"pip install \"icdpo-chains\[datasets\]\""):
        list(read_demonstrations("some-org/some-data"))


def test_columns_say_what_holds_what(tmp_path: Path) -> None:
    row = {"q": {"text": "a"}, "yes": "b", "no": "c", "chosen": "not this", "n": 1}
    (tmp_path / "x.jsonl").write_text(json.dumps(row) + "\n")
    columns = {"prompt": "q.text", "chosen": "yes", "rejected": "no"}
    (found,) = read_demonstrations(tmp_path / "x.jsonl", columns=columns)
    assert found == Demonstration("a", "b", "c", {"chosen": "not this", "n": 1})
    with pytest.raises(UnknownFormatError, match="there is no column 'maybe'"):
        list(read_demonstrations(tmp_path / "x.jsonl", columns={"prompt": "maybe"}))


def test_a_function_of_the_callers_reads_a_row(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"a": "1"}\n{"a": "2"}\n{"a": ""}\n')

    def convert(row: Any) -> list[Demonstration] | None:
        return [Demonstration(row["a"], "b")] * 2 if row["a"] != "2" else None

    refused: list[RefusedRow] = []
    found = list(read_demonstrations(tmp_path / "x.jsonl", convert=convert, on_refused=refused.append))
    assert found == [Demonstration("1", "b")] * 2
    assert [row.line for row in refused] == [3]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    st.lists(st.dictionaries(st.sampled_from(NAMES), values, min_size=1, max_size=6), min_size=1, max_size=3)
)
def test_no_row_whatever_it_holds_is_more_than_an_error(tmp_path: Path, rows: Rows) -> None:
    with contextlib.suppress(UnknownFormatError):
        read(tmp_path / "x.jsonl", "\n".join(map(json.dumps, rows)).encode())


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.binary(max_size=200), st.sampled_from([*FORMATS, "", ".zip", ".jsonl.gz"]), st.booleans())
def test_no_bytes_are_more_than_an_error(tmp_path: Path, data: bytes, suffix: str, wide: bool) -> None:
    with contextlib.suppress(UnknownFormatError):
        read(tmp_path / f"x{suffix}", b"\xff\xfe" + data if wide else data)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
@pytest.mark.parametrize("harm", ["truncated", "damaged", "checksum"])
def test_broken_gzip_gives_what_stands_before_and_one_refusal(tmp_path: Path, suffix: str, harm: str) -> None:
    rows = [{"prompt": f"{i * 7919 % 10007}", "chosen": f"b{i}", "rejected": "c"} for i in range(3_000)]
    data = bytearray(gzip.compress(encoded(rows, suffix)))
    if harm == "truncated":
        del data[len(data) * 2 // 3 :]
    elif harm == "damaged":
        data[len(data) * 2 // 3 :] = b"\xff" * (len(data) // 3)
    else:
        data[-8] ^= 0xFF
    demonstrations, refused = read(tmp_path / f"x{suffix}.gz", bytes(data))
    # What damage leaves behind is garbage until the decompressor notices: rows of it are refused one by one.
    assert len(refused) == 1 or harm == "damaged"
    assert "gzip" in refused[-1][1]
    if suffix == ".parquet":  # which is read from its end
        assert demonstrations == []
    elif harm == "checksum":
        assert len(demonstrations) == 3_000
    else:
        assert 1_000 < len(demonstrations) < 3_000
        assert demonstrations[1_000].chosen == "b1000"
        if harm == "truncated":
            shift = 2 if suffix == ".csv" else 1
            assert refused[0][0] == len(demonstrations) + shift


def test_a_csv_record_that_the_break_may_have_cut_is_not_taken_for_whole(tmp_path: Path) -> None:
    data = gzip.compress(b"prompt,chosen\na,b\nc,the answer wa")[:-8]
    demonstrations, refused = read(tmp_path / "x.csv.gz", data)
    assert [d.prompt for d in demonstrations] == ["a"]
    assert [line for line, _ in refused] == [3]


def test_a_gzip_header_alone_is_one_refusal(tmp_path: Path) -> None:
    demonstrations, refused = read(tmp_path / "x.jsonl.gz", gzip.compress(LINE)[:6])
    assert demonstrations == []
    assert [line for line, _ in refused] == [1]


def test_a_damaged_parquet_file_gives_what_stands_before(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    rows = [{"prompt": f"{i * 7919 % 10007}", "chosen": f"b{i}"} for i in range(5_000)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=1_000)
    group = pq.ParquetFile(path).metadata.row_group(3)
    data = bytearray(path.read_bytes())
    start = group.column(0).dictionary_page_offset
    data[start : start + 2_000] = b"\xff" * 2_000
    demonstrations, refused = read(path, bytes(data))
    assert [d.chosen for d in demonstrations] == [f"b{i}" for i in range(len(demonstrations))]
    assert 2_000 < len(demonstrations) <= 3_000
    assert [line for line, _ in refused] == [len(demonstrations) + 1]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"not parquet at all"])
def test_what_is_no_parquet_is_one_refusal(tmp_path: Path, data: bytes) -> None:
    demonstrations, refused = read(tmp_path / "x.parquet", data)
    assert demonstrations == []
    assert [line for line, _ in refused] == [1]
    assert "Parquet" in refused[0][1]


def test_a_parquet_row_that_can_not_be_decoded_is_refused_alone(tmp_path: Path) -> None:
    prompts = pa.array([b"a", b"\xff", b"c"]).cast(pa.binary()).view(pa.string())
    pq.write_table(pa.table({"prompt": prompts, "chosen": ["x", "y", "z"]}), tmp_path / "x.parquet")
    refused: list[RefusedRow] = []
    demonstrations = list(read_demonstrations(tmp_path / "x.parquet", on_refused=refused.append))
    assert [d.prompt for d in demonstrations] == ["a", "c"]
    assert [row.line for row in refused] == [2]


def test_a_csv_record_is_named_by_the_line_where_it_begins(tmp_path: Path) -> None:
    data = b'prompt,chosen\n"two\nlines",b\n\na\n"x"y,b\n,b\nc,d\n"never closed,e\nf,g\n'
    demonstrations, refused = read(tmp_path / "x.csv", data)
    assert [d.prompt for d in demonstrations] == ["two\nlines", "c"]
    assert [line for line, _ in refused] == [5, 6, 7, 9]
    assert "1 cells, but the header names 2" in refused[0][1]


def test_a_long_csv_cell_is_read_and_the_process_wide_limit_is_left_alone(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    long = "x" * (limit + 1_000_000)
    path = tmp_path / "x.csv"
    path.write_bytes(encoded([{**GOOD, "prompt": long}] * 3, ".csv"))
    demonstrations = read_demonstrations(path)
    assert next(demonstrations).prompt == long
    assert csv.field_size_limit() == limit
    with pytest.raises(csv.Error, match="field larger"):
        next(csv.reader([long]))
    threads = [threading.Thread(target=lambda: list(read_demonstrations(path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_a_row_beyond_all_measure_is_refused_without_being_loaded(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (csv_rows, json_rows, text_lines):
        monkeypatch.setattr(module, "MAX_ROW", 200_000)
    rows = [GOOD, {**GOOD, "prompt": "x" * 1_000_000}, {**GOOD, "prompt": "z"}]
    demonstrations, refused = read(tmp_path / f"x{suffix}", encoded(rows, suffix))
    # An array can't be followed beyond a row that is not read.
    assert [d.prompt for d in demonstrations] == (["a"] if suffix == ".json" else ["a", "z"])
    assert [line for line, _ in refused] == [3 if suffix == ".csv" else 2]
    assert "longer than 200,000" in refused[0][1]


@pytest.mark.parametrize("suffix", FORMATS)
def test_unknown_columns_are_an_error_that_names_them(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(encoded([{"question": "a", "answer": "b"}] * 2, suffix))
    refused: list[RefusedRow] = []
    with pytest.raises(UnknownFormatError) as caught:
        list(read_demonstrations(path, on_refused=refused.append))
    assert refused == []
    for part in (str(path), "'question'", "'answer'", "prompt + chosen", "ShareGPT"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"prompt,chosen,chosen\na,b,c", b'"prompt,chosen\na,b', b"\xff,chosen\na,b", b"query;reply\na;b"],
)
def test_a_csv_header_that_can_not_be_used(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    with pytest.raises(UnknownFormatError):
        list(read_demonstrations(path))


@pytest.mark.parametrize("name", ["x.txt", "x", "x.gz", "x.jsonl.bz2", ".jsonl", "x.log.1"])
def test_json_under_another_name_is_told_by_its_content(tmp_path: Path, name: str) -> None:
    assert read(tmp_path / name, LINE) == ([Demonstration("a", "b", "c")], [])


@pytest.mark.parametrize("name", ["x.txt", "x.doc", "x.pkl"])
def test_an_unknown_suffix_is_named_next_to_the_known_ones(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"any text")
    with pytest.raises(UnknownFormatError) as caught:
        read_demonstrations(tmp_path / name)
    assert name in str(caught.value)
    assert ".jsonl, .ndjson, .json, .csv, .tsv, .parquet" in str(caught.value)


def test_a_directory_without_rows_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UnknownFormatError, match="has no file of a known format"):
        read_demonstrations(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        read_demonstrations(str(tmp_path / "none.jsonl"))
    assert caught.value.filename == str(tmp_path / "none.jsonl")


def test_without_a_callback_each_refusal_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(LINE + b"{\n" + LINE + b"null\n")
    with caplog.at_level(logging.WARNING, "icdpo_chains"):
        assert len(list(read_demonstrations(path))) == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert f"{path}:2: " in caplog.text
    assert f"{path}:4: " in caplog.text


def test_an_error_of_the_callback_is_the_callers(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(LINE + b"{\n" + LINE)

    def stop(row: RefusedRow) -> None:
        raise LookupError(row.reason)

    with pytest.raises(LookupError):
        list(read_demonstrations(path, on_refused=stop))


@pytest.mark.parametrize(
    "text",
    [
        '"sep=;"\r\nprompt;chosen;rejected\r\na;b;c\r\n',
        "prompt, chosen, rejected\na, b, c\n",
        'prompt, chosen, rejected\na, "b", c\n',
    ],
)
def test_a_quoted_separator_line_and_spaces_after_delimiters(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.csv").write_text(text, newline="")
    assert list(read_demonstrations(tmp_path / "x.csv")) == [Demonstration("a", "b", "c")]


def test_marks_between_json_texts_are_no_part_of_them(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b"\x1e" + LINE + b"\x1e" + LINE)
    assert len(list(read_demonstrations(tmp_path / "x.jsonl"))) == 2


def test_texts_that_parquet_does_not_mark_as_text(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    columns = {
        "prompt": ["ä?".encode(), b"d?", b"e?"],
        "chosen": [b"b", b"b", b"\xff"],
        "rejected": [b"c", None, b"c"],
        "image": [b"\x89", b"\x89", None],
    }
    pq.write_table(pa.table(columns), path)
    refused: list[Any] = []
    found = list(read_demonstrations(path, on_refused=refused.append))
    assert found == [Demonstration("ä?", "b", "c"), Demonstration("d?", "b")]
    assert [row.line for row in refused] == [3]
