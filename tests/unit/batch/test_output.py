"""The output of a job: whole lines of one job, or nothing."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains.batch.output import JobOutput
from icdpo_chains.errors import ICDPOError, InvalidInputError

from .conftest import records

SETTINGS = {"seed": 1, "n": 2}


def opened(path: Path, **options: Any) -> JobOutput:
    return JobOutput(path / "out.jsonl", SETTINGS, lambda: 4, **options)


def test_a_row_is_written_once(tmp_path: Path) -> None:
    with opened(tmp_path) as output:
        output.append([{"row": 2, "response": "a"}, {"row": 2, "response": "b"}])
        output.append([{"row": 2, "response": "c"}, {"row": 1, "error": {}}])
        assert (output.done, output.failed, output.rows, output.seed) == ({1, 2}, 1, 4, 1)
    assert records(tmp_path / "out.jsonl") == [{"row": 2, "response": "a"}, {"row": 1, "error": {}}]


def test_input_is_counted_once_a_job(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    with JobOutput(tmp_path / "out.jsonl", SETTINGS, lambda: pytest.fail("counted again")) as output:
        assert output.rows == 4


def test_one_process_writes(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(InvalidInputError, match="is open in another process"):
        opened(tmp_path)
    with opened(tmp_path) as output:
        output.append([{"row": 1}])


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"[1]\n", 1),
        (b'{"row": 1}\n{"response": ""}\n', 2),
        (b'{"row": 1}\n{"row": 5}\n', 2),
        (b'{"row": 0}\n', 1),
        (b'{"row": 1}\n{"row": 2}\n{"row": 1}\n', 3),
        (b'{"row": 1}\n\xff\x00\n', 2),
    ],
)
def test_lines_of_no_record_are_named_and_left(tmp_path: Path, content: bytes, line: int) -> None:
    with opened(tmp_path):
        pass
    (tmp_path / "out.jsonl").write_bytes(content)
    with pytest.raises(InvalidInputError, match=rf"out.jsonl, line {line}: "):
        opened(tmp_path)
    assert (tmp_path / "out.jsonl").read_bytes() == content
    (tmp_path / "out.jsonl").unlink()
    opened(tmp_path).close()  # the lock was let go


def test_other_files_are_refused_and_left(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text('{"row": 1}\n')
    with pytest.raises(InvalidInputError, match=r"without out.jsonl.job.json beside it.*another file"):
        opened(tmp_path)
    for damage in ("", "[]", '{"settings": {}}', '{"settings": {"seed": "x"}, "rows": 1}'):
        (tmp_path / "out.jsonl.job.json").write_text(damage)
        with pytest.raises(InvalidInputError, match=r"job.json is damaged: name another .* remove both"):
            opened(tmp_path)
    assert (tmp_path / "out.jsonl").read_text() == '{"row": 1}\n'
    (tmp_path / "out.jsonl").unlink()
    with pytest.raises(InvalidInputError, match=r"job.json is damaged: name another output, or remove it"):
        opened(tmp_path)  # it may be a file of somebody else
    with pytest.raises(InvalidInputError, match=r"must end in .jsonl"):
        JobOutput(tmp_path / "out.csv", SETTINGS, lambda: 1)


@pytest.mark.parametrize("how", ["removed", "emptied"])
def test_a_job_without_rows_is_begun_anew_with_other_settings(tmp_path: Path, how: str) -> None:
    """The job file that was left behind refused every other job, and its advice was no help."""
    file, job = tmp_path / "out.jsonl", tmp_path / "out.jsonl.job.json"
    with opened(tmp_path) as output:
        output.append([{"row": 4}])
    before = job.read_bytes()
    with pytest.raises(InvalidInputError, match="made with other settings"):
        JobOutput(file, {"seed": 1, "n": 3}, lambda: 2)
    assert job.read_bytes() == before
    if how == "removed":
        file.unlink()
    else:
        os.truncate(file, 0)
    with JobOutput(file, {"seed": None, "n": 3}, lambda: 2) as output:
        assert (output.rows, output.done) == (2, set())
        drawn = output.seed
        output.append([{"row": 1}])
    assert json.loads(job.read_bytes())["settings"] == {"seed": drawn, "n": 3}
    assert drawn != 1
    with pytest.raises(InvalidInputError, match="made with other settings"):
        opened(tmp_path)
    assert records(file) == [{"row": 1}]


@pytest.mark.parametrize("how", ["removed", "emptied"])
def test_a_job_without_rows_keeps_its_seed_and_its_rows(tmp_path: Path, how: str) -> None:
    file = tmp_path / "out.jsonl"
    with JobOutput(file, {"seed": None}, lambda: 4) as output:
        drawn = output.seed
    if how == "removed":
        file.unlink()
    with JobOutput(file, {"seed": None}, lambda: pytest.fail("counted again")) as output:
        assert (output.seed, output.rows) == (drawn, 4)


def test_a_disk_that_fails_in_the_middle_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as output:
        output.append([{"row": 1, "response": "kept"}])
        before = (tmp_path / "out.jsonl").read_bytes()

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(
                ICDPOError, match=r"out.jsonl can't be written \(No space left.*same command again"
            ):
                output.append([{"row": 2, "response": "lost"}])
        assert (tmp_path / "out.jsonl").read_bytes() == before
        output.append([{"row": 2, "response": "again"}])
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            output.close()
            with pytest.raises(ICDPOError, match="can't be written"):
                JobOutput(tmp_path / "new.jsonl", SETTINGS, lambda: 1)
    assert not (tmp_path / "new.jsonl.job.json").exists()
    assert [record["row"] for record in records(tmp_path / "out.jsonl")] == [1, 2]


def test_a_directory_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ICDPOError, match="can't be written"):
        JobOutput(tmp_path / "file" / "out.jsonl", SETTINGS, lambda: 1)


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    with opened(tmp_path) as output:
        output.append([{"row": 1, "score": float("-inf"), "text": "é\u2028"}])
    line = (tmp_path / "out.jsonl").read_bytes()
    assert line.isascii()
    assert json.loads(line) == {"row": 1, "score": None, "text": "é\u2028"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize("kind", ["pipe", "directory", "link", "dangling link"])
@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.job.json", "out.jsonl.lock"])
def test_no_pipe_directory_or_link_is_waited_for_or_written(tmp_path: Path, name: str, kind: str) -> None:
    file, target = tmp_path / name, tmp_path / "target"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "directory":
        file.mkdir()
    elif name == "out.jsonl":
        os.mkfifo(target)  # a link to a file is a name of it
        file.symlink_to(target)
    else:
        if kind == "link":
            target.write_text("mine")
        file.symlink_to(target)
    with pytest.raises(InvalidInputError, match=r"is not a regular file: remove it, or name another output"):
        opened(tmp_path)
    assert {found.name for found in tmp_path.iterdir()} <= {name, "target"}
    if target.is_file():
        assert target.read_text() == "mine"


def test_two_names_of_one_file_are_one_output(tmp_path: Path) -> None:
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "out.jsonl").symlink_to(tmp_path / "out.jsonl")
    with opened(tmp_path) as output:
        output.append([{"row": 1}, {"row": 2, "error": {"type": "PolicyError"}}])
        with pytest.raises(InvalidInputError, match="is open in another process"):
            opened(tmp_path / "link")
    with opened(tmp_path / "link", retry_failed=True) as output:
        assert output.done == {1}
    assert (tmp_path / "link" / "out.jsonl").is_symlink()
    assert records(tmp_path / "out.jsonl") == [{"row": 1}]


@pytest.mark.parametrize("how", ["removed", "replaced", "cut", "grown", "emptied", "job removed"])
def test_an_output_that_another_program_changes_is_no_success(tmp_path: Path, how: str) -> None:
    """The rows went into a file that no longer existed, and the job said that all was well."""
    file = tmp_path / "out.jsonl"
    with opened(tmp_path) as output:
        output.append([{"row": 1}])
        output.check()
        if how == "removed":
            file.unlink()
        elif how == "replaced":
            (tmp_path / "copy").write_bytes(file.read_bytes())
            (tmp_path / "copy").replace(file)
        elif how == "cut":
            os.truncate(file, 3)
        elif how == "job removed":
            (tmp_path / "out.jsonl.job.json").unlink()
        else:
            with file.open("ab" if how == "grown" else "wb") as other:
                other.write(b"{}\n" * (how == "grown"))
        before = file.read_bytes() if file.exists() else None
        for use in (output.check, lambda: output.append([{"row": 2}])):
            with pytest.raises(ICDPOError, match=r"another program removed or changed .*another output"):
                use()
        assert output.done == {1}
    assert (file.read_bytes() if file.exists() else None) == before
