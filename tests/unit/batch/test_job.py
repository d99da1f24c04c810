"""A batch job: each row once, whatever stops it, and the same answers in any order."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icdpo_chains import ICDPO, FakePolicy, ICDPOConfig, SamplingParams
from icdpo_chains.batch.answering import row_seed
from icdpo_chains.batch.job import JobReport, run_batch_job
from icdpo_chains.errors import (
    ICDPOError,
    InvalidInputError,
    PolicyMemoryError,
    PolicyUnavailableError,
    StoreUnavailableError,
    UnknownFormatError,
)
from icdpo_chains.policies.sampling import Sample

from .conftest import CONFIG, build, records


def test_each_row_has_its_line(run: Any, tmp_path: Path) -> None:
    told: list[JobReport] = []
    report = run(on_progress=told.append)
    assert (report.rows, report.already_there, report.added, report.failed) == (5, 0, 5, 1)
    assert [(said.added, said.minutes_left is None) for said in told] == [(2, False), (4, False), (5, False)]
    first, second, third, fourth, fifth = records(tmp_path / "out.jsonl")
    assert [first["row"], second["row"], third["row"], fourth["row"], fifth["row"]] == [1, 2, 3, 4, 5]
    assert first["prompt"] == "Question 0?"
    assert third["prompt"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hé {x}?"},
    ]
    assert set(fourth) == {"row", "id", "line", "error"}
    assert (fourth["line"], fourth["error"]["type"]) == (4, "DemonstrationError")
    assert "columns" in fourth["error"]["message"]
    icdpo = fifth["icdpo"]
    assert fifth["response"] == icdpo["candidates"][0]["text"]
    assert (len(icdpo["candidates"]), icdpo["model"]) == (2, "fake")
    # What is written is enough to have the answer again.
    assert build(CONFIG).generate("Question 4?", seed=icdpo["seed"]).text == fifth["response"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a job that was never stopped."""
    place = tmp_path_factory.mktemp("finished")
    (place / "prompts.txt").write_text("".join(f"Question {i}?\n" for i in range(6)))
    run_batch_job(CONFIG, place / "prompts.txt", place / "out.jsonl", build=build, chunk=4)
    return place


@given(cut=st.floats(0, 1), chunk=st.integers(1, 7))
@settings(max_examples=25, deadline=None)
def test_cut_at_any_byte_it_goes_on_to_the_same_file(
    finished: Path, tmp_path_factory: pytest.TempPathFactory, cut: float, chunk: int
) -> None:
    place = tmp_path_factory.mktemp("cut") / "job"
    shutil.copytree(finished, place)
    whole = (finished / "out.jsonl").read_bytes()
    (place / "out.jsonl").write_bytes(whole[: round(cut * len(whole))])
    kept = whole[: round(cut * len(whole))].count(b"\n")
    report = run_batch_job(CONFIG, place / "prompts.txt", place / "out.jsonl", build=build, chunk=chunk)
    assert (report.already_there, report.added) == (kept, 6 - kept)
    assert (place / "out.jsonl").read_bytes() == whole


def test_nothing_is_loaded_where_nothing_is_left(run: Any, tmp_path: Path) -> None:
    run()
    before = (tmp_path / "out.jsonl").read_bytes()

    def never(config: ICDPOConfig) -> ICDPO:
        raise AssertionError("built")

    report = run(build=never)
    assert (report.already_there, report.added, report.failed) == (5, 0, 1)
    assert (tmp_path / "out.jsonl").read_bytes() == before


def test_rows_that_were_done_in_another_order_are_left_out(run: Any, tmp_path: Path) -> None:
    run()
    out = tmp_path / "out.jsonl"
    lines = out.read_bytes().splitlines(keepends=True)
    out.write_bytes(lines[4] + lines[1])
    assert run().added == 3
    assert sorted(out.read_bytes().splitlines(keepends=True)) == sorted(lines)


def test_without_a_seed_one_is_drawn_and_kept(run: Any, tmp_path: Path) -> None:
    config = CONFIG.changed({"seed": None})
    run(config)
    out = tmp_path / "out.jsonl"
    whole = out.read_bytes()
    out.write_bytes(b"".join(whole.splitlines(keepends=True)[:1]))
    run(config)
    assert out.read_bytes() == whole
    seed = json.loads((tmp_path / "out.jsonl.job.json").read_text())["settings"]["seed"]
    assert records(out)[0]["icdpo"]["seed"] == row_seed(seed, 1)
    run(CONFIG.changed({"seed": seed}))  # the same one, named
    (tmp_path / "out.jsonl").unlink()
    (tmp_path / "out.jsonl.job.json").unlink()
    run(config)
    assert json.loads((tmp_path / "out.jsonl.job.json").read_text())["settings"]["seed"] != seed


def test_seeds_of_rows_and_jobs_differ() -> None:
    drawn = {row_seed(seed, row) for seed in range(50) for row in range(50)}
    assert len(drawn) == 2500
    assert all(0 <= seed < 2**48 for seed in drawn)
    # Written down here, for a change would give every continued job other answers.
    assert row_seed(7, 1) == int(hashlib.sha256(b"7/1").hexdigest()[:12], 16)


def test_other_settings_and_other_inputs_are_refused(run: Any, prompts: Path, tmp_path: Path) -> None:
    run()
    before = (tmp_path / "out.jsonl").read_bytes()
    for changes, said in [
        ({"n": 3}, "n: 2, now 3"),
        ({"seed": 8}, "seed: 7, now 8"),
        ({"max_tokens": 9}, "sampling: "),
        ({"against": "base"}, "against: 'rejected', now 'base'"),
        ({"store": "other"}, "store: None, now '.*other'"),
    ]:
        with pytest.raises(InvalidInputError, match=f"other settings .*{said}.*another file"):
            run(CONFIG.changed(changes))
    run(CONFIG.changed({"device": "cpu"}))  # another machine
    shutil.move(prompts, tmp_path / "moved.jsonl")
    run(prompts=tmp_path / "moved.jsonl")
    (tmp_path / "moved.jsonl").write_text('{"prompt": "Another?"}\n')
    with pytest.raises(InvalidInputError, match="prompts: "):
        run(prompts=tmp_path / "moved.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == before


class Sometimes(FakePolicy):
    """Raises where the context holds `poison`."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    def sample(self, context: Sequence[int], n: int, sampling: SamplingParams) -> list[Sample]:
        if self.error and "poison" in self.tokenizer.decode(context):
            raise self.error
        return super().sample(context, n, sampling)


@pytest.fixture
def poisoned(tmp_path: Path) -> Path:
    path = tmp_path / "poisoned.txt"
    path.write_text("One?\nTwo?\nThree?\nSome poison?\nFive?\n")
    return path


def with_policy(policy: FakePolicy) -> Callable[[ICDPOConfig], ICDPO]:
    icdpo = build(CONFIG)
    icdpo.policy = policy
    return lambda config: icdpo


@pytest.mark.parametrize("error", [ValueError("too long"), RuntimeError("a bug")])
def test_a_row_that_fails_costs_no_other_one(
    run: Any, poisoned: Path, tmp_path: Path, error: Exception
) -> None:
    policy = Sometimes(error)
    report = run(prompts=poisoned, build=with_policy(policy), chunk=5)
    assert (report.added, report.failed) == (5, 1)
    failed = records(tmp_path / "out.jsonl")[3]
    assert failed["error"] == {"type": type(error).__name__, "message": str(error)}
    assert (failed["prompt"], "response" in failed) == ("Some poison?", False)

    policy.error = None
    kept = (tmp_path / "out.jsonl").read_bytes()
    assert run(prompts=poisoned, build=with_policy(policy)).failed == 1
    assert (tmp_path / "out.jsonl").read_bytes() == kept

    report = run(prompts=poisoned, build=with_policy(policy), retry_failed=True)
    assert (report.already_there, report.added, report.failed) == (4, 1, 0)
    again = records(tmp_path / "out.jsonl")
    assert [record["row"] for record in again] == [1, 2, 3, 5, 4]
    assert again[4]["response"]
    assert not list(tmp_path.glob("*.tmp"))


def test_a_row_that_is_refused_again_fails_again(run: Any, tmp_path: Path) -> None:
    run()
    report = run(retry_failed=True)
    assert (report.already_there, report.added, report.failed) == (4, 1, 1)
    assert [record["row"] for record in records(tmp_path / "out.jsonl")] == [1, 2, 3, 5, 4]


class OutOfMemoryError(RuntimeError):
    """Torch's has this name."""


@pytest.mark.parametrize(
    "error",
    [
        PolicyUnavailableError("gone"),
        StoreUnavailableError("gone"),
        MemoryError(),
        OutOfMemoryError("CUDA"),
        ConnectionError("gone"),
    ],
)
def test_what_is_wrong_with_the_machine_stops_the_job(
    run: Any, poisoned: Path, tmp_path: Path, error: Exception
) -> None:
    policy = Sometimes(error)
    with pytest.raises(type(error)):
        run(prompts=poisoned, build=with_policy(policy), chunk=2)
    assert [record["row"] for record in records(tmp_path / "out.jsonl")] == [1, 2]
    policy.error = None
    report = run(prompts=poisoned, build=with_policy(policy), chunk=2)
    assert (report.already_there, report.added, report.failed) == (2, 3, 0)


def test_a_row_that_the_memory_can_not_hold_fails_alone(run: Any, poisoned: Path, tmp_path: Path) -> None:
    policy = Sometimes(PolicyMemoryError("too long"))
    report = run(prompts=poisoned, build=with_policy(policy), chunk=2)
    assert (report.added, report.failed) == (5, 1)
    (failed,) = (record for record in records(tmp_path / "out.jsonl") if "error" in record)
    assert failed["error"] == {"type": "PolicyMemoryError", "message": "too long"}


def test_a_memory_that_holds_no_row_stops_the_job(run: Any, poisoned: Path, tmp_path: Path) -> None:
    policy = Sometimes(PolicyMemoryError("another process has it"))
    with pytest.raises(PolicyMemoryError):
        run(prompts=poisoned, build=with_policy(policy), chunk=1)
    policy.error = None
    report = run(prompts=poisoned, build=with_policy(policy), chunk=1)
    assert report.added + report.already_there == 5
    assert report.failed == 0


@pytest.mark.parametrize("error", [StoreUnavailableError("gone"), KeyboardInterrupt()])
def test_retrieval_that_stops_the_job(run: Any, poisoned: Path, error: BaseException, tmp_path: Path) -> None:
    icdpo = build(CONFIG)
    retrieve, asked = icdpo.retrieve, []

    def stopped(prompt: Any, **options: Any) -> Any:
        asked.append(prompt)
        if len(asked) > 2:
            raise error
        return retrieve(prompt, **options)

    icdpo.retrieve = stopped  # type: ignore[method-assign]
    with pytest.raises(type(error)):
        run(prompts=poisoned, build=lambda _: icdpo, chunk=2)
    assert [record["row"] for record in records(tmp_path / "out.jsonl")] == [1, 2]


def test_input_without_a_prompt_is_refused_before_anything_is_made(run: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "wrong.jsonl").write_text('{"a": 1}\n{"prompt": ""}\n')
    for name, kind, said in [
        ("empty.txt", InvalidInputError, "no usable prompt$"),
        ("wrong.jsonl", InvalidInputError, "no usable prompt; row 1, line 1: "),
        ("unknown.doc", UnknownFormatError, "unknown"),
        ("none.txt", FileNotFoundError, "none.txt"),
    ]:
        if kind is UnknownFormatError:
            (tmp_path / name).write_text("x")
        with pytest.raises(kind, match=said):
            run(prompts=tmp_path / name)
    assert not (tmp_path / "out.jsonl").exists()
    assert not (tmp_path / "out.jsonl.job.json").exists()
    for chunk in (0, 10_001):
        with pytest.raises(ValueError, match=f"chunk is {chunk}"):
            run(chunk=chunk)


def test_rows_that_do_not_come_back_are_missed(run: Any, tmp_path: Path) -> None:
    from icdpo_chains.batch.output import JobOutput

    with JobOutput(tmp_path / "x.jsonl", {}, lambda: 3) as output:
        from icdpo_chains.batch.job import write_all

        with pytest.raises(ICDPOError, match="2 of 3 rows did not come back"):
            write_all(output, [[{"row": 2}], [{"row": 2}]], None)
    assert records(tmp_path / "x.jsonl") == [{"row": 2}]


def test_an_input_that_changes_during_the_job_changes_nothing(
    run: Any, prompts: Path, tmp_path: Path
) -> None:
    def changed(report: JobReport) -> None:
        if report.added == 2:
            prompts.write_text('{"prompt": "Another?"}\n' * 9)

    report = run(on_progress=changed)
    assert (report.rows, report.added) == (5, 5)
    assert [row.get("prompt") for row in records(tmp_path / "out.jsonl")][4] == "Question 4?"
    with pytest.raises(InvalidInputError, match="prompts"):
        run()  # the changed file is another input


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_refused_and_never_waited_for(run: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(InvalidInputError, match=r"not a regular file.*save the rows"):
        run(prompts=tmp_path / "pipe.jsonl")
    with pytest.raises(InvalidInputError, match="not a regular file"):
        run(prompts=tmp_path)


def test_files_beside_the_output_are_never_written(run: Any, tmp_path: Path) -> None:
    own, target = tmp_path / "out.jsonl.tmp", tmp_path / "target"
    own.write_text("mine")
    target.write_text("mine")
    (tmp_path / "out.jsonl.job.json.tmp").symlink_to(target)
    run()
    run(retry_failed=True)
    assert own.read_text() == target.read_text() == "mine"


def test_the_answers_to_openais_lines_have_openais_form(run: Any, prompts: Path, tmp_path: Path) -> None:
    body = {"model": "gpt", "messages": [{"role": "user", "content": "Why?"}]}
    lines = [
        {"custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": body},
        {"custom_id": "two", "method": "POST", "url": "/v1/completions", "body": {"prompt": "Why?"}},
        {"custom_id": "three", "method": "POST", "url": "/v1/images", "body": {}},
    ]
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run().failed == 1
    chat, text, refused = records(tmp_path / "out.jsonl")
    assert [line["custom_id"] for line in (chat, text, refused)] == ["one", "two", "three"]
    assert [bool(line["error"]) for line in (chat, text, refused)] == [False, False, True]
    best = chat["icdpo"]["candidates"][0]["text"]
    assert chat["response"]["status_code"] == text["response"]["status_code"] == 200
    assert chat["response"]["body"]["object"] == "chat.completion"
    assert chat["response"]["body"]["choices"][0]["message"]["role"] == "assistant"
    assert chat["response"]["body"]["choices"][0]["message"]["content"] == best
    assert chat["response"]["body"]["choices"][0]["finish_reason"] in ("stop", "length")
    usage = chat["response"]["body"]["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert text["response"]["body"]["object"] == "text_completion"
    assert text["response"]["body"]["choices"][0]["text"] == text["icdpo"]["candidates"][0]["text"]
    before = (tmp_path / "out.jsonl").read_bytes()
    assert run(retry_failed=True).already_there == 2
    assert (tmp_path / "out.jsonl").read_bytes() == before
