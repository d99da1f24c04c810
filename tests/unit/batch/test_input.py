"""Rows keep their number, and come through JSON as they are."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains import Message
from icdpo_chains.batch.input import JobRow, count_rows, job_rows

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def test_rows_that_can_not_be_used_count(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"a": 1}\n\nno json\n{"prompt": "One?"}\n{"prompt": "Two?"}\n{"prompt": 3}\n')
    rows = list(job_rows(path))
    assert [(row.number, row.prompt, row.line) for row in rows] == [
        (1, "", 1),
        (2, "", 3),
        (3, "One?", None),
        (4, "Two?", None),
        (5, "", 6),
    ]
    assert [row.refused is None for row in rows] == [False, False, True, True, False]
    assert count_rows(path) == 5


@given(st.builds(JobRow, st.integers(1), TEXTS | st.tuples(st.builds(Message, st.just("user"), TEXTS))))
def test_a_row_comes_through_json(row: JobRow) -> None:
    assert JobRow.from_dict(json.loads(json.dumps(row.to_dict()))) == row


def test_a_row_keeps_the_name_that_it_has(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        '{"prompt": "a?", "custom_id": "one", "id": 5}\n{"prompt": "b?", "id": 7}\n{"prompt": "c?"}\n'
        '{"prompt": "d?", "chosen": "d", "metadata": {"id": "four"}}\n'
    )
    assert [row.id for row in job_rows(path)] == ["one", 7, None, "four"]
    assert JobRow.from_dict(next(job_rows(path)).to_dict()).id == "one"


def test_lines_for_openais_batch_endpoint(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    chat = {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "a?"}]}
    lines = [
        {"custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", **chat}},
        {"custom_id": "two", "method": "POST", "url": "/v1/completions", "body": {"prompt": "b?"}},
        {"custom_id": "three", "method": "POST", "url": "/v1/embeddings", "body": {"input": "c?"}},
        {"custom_id": "four", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m"}},
        {"id": "five", **chat},
        {"prompt": "d?", "url": "/v1/completions"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = list(job_rows(path))
    assert [row.id for row in rows] == ["one", "two", "three", "four", "five", None]
    requests = ["/v1/chat/completions", "/v1/completions", None, None, None, None]
    assert [row.request for row in rows] == requests
    assert rows[0].prompt == (Message("system", "Be kind."), Message("user", "a?")) == rows[4].prompt
    assert rows[1].prompt == "b?"
    assert "'/v1/embeddings'" in (rows[2].refused or "")
    assert "has no 'messages'" in (rows[3].refused or "")
    assert JobRow.from_dict(rows[0].to_dict()) == rows[0]
