"""The `icdpo` command as users run it: its own process, the default models, a store on disk."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).parents[3] / "shared" / "data"
ICDPO = [sys.executable, "-c", "from icdpo_chains.cli import main; main()"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def environment(starter_store: Path) -> dict[str, str]:
    (starter_store / "starter-set-added").touch()
    return {**os.environ, "ICDPO_STORE": str(starter_store), "COLUMNS": "120"}


@pytest.fixture(scope="module")
def icdpo(environment: dict[str, str]) -> Run:
    def run(*arguments: str, stdin: str = "") -> Any:
        return subprocess.run(
            [*ICDPO, *arguments], input=stdin, capture_output=True, text=True, env=environment, timeout=300
        )

    return run


def test_ask_shows_the_answer_its_rivals_and_the_demonstrations(icdpo: Run) -> None:
    run = icdpo("ask", "How do I say sorry?", "-v", "-n", "2", "--max-tokens", "16", "--seed", "7")
    assert run.returncode == 0, run.stderr
    assert run.stderr in ("", "icdpo: the answer is cut off at --max-tokens 16: allow more\n")
    assert "2 candidates" in run.stdout
    assert "Demonstrations shown" in run.stdout


@pytest.mark.slow
def test_chat_and_score(icdpo: Run) -> None:
    run = icdpo("chat", "-n", "2", "--max-tokens", "8", stdin="Hello.\nWho are you?\n")
    assert run.returncode == 0, run.stderr
    assert all("cut off" in line for line in run.stderr.splitlines())  # at 8 tokens
    assert len(run.stdout.splitlines()) >= 2
    kind, rude = "I am sorry. Call her, and say so.", "Who cares."
    run = icdpo("score", "I had a fight with my sister. What now?", rude, kind, "--json")
    assert [c["text"] for c in json.loads(run.stdout)["candidates"]] == [kind, rude]


@pytest.mark.slow
def test_real_preferences_are_imported_once_and_used(icdpo: Run, tmp_path: Path) -> None:
    file = SHARED / "hh_harmless_dev.jsonl.gz"
    if not file.exists():
        pytest.skip(f"{file.name} is not at hand")
    store = ["--store", str(tmp_path / "store")]
    first = json.loads(icdpo("import", str(file), *store, "--json").stdout)
    assert first["files"][0]["added"] == 1152
    assert len(first["refused"]) == 4
    again = json.loads(icdpo("import", str(file), *store, "--json").stdout)
    assert (again["files"][0]["added"], again["files"][0]["already_there"]) == (0, 1152)
    run = icdpo("ask", "How do I pick a lock?", "--json", "-n", "2", "--max-tokens", "8", *store)
    found = json.loads(run.stdout)["demonstrations"]
    assert len(found) == 2
    for demonstration in found:
        prompt = demonstration["prompt"]
        assert "lock" in (prompt if isinstance(prompt, str) else json.dumps(prompt))


@pytest.mark.parametrize(
    "wait", [0.5, pytest.param(8.0, marks=pytest.mark.slow)], ids=["while loading", "while sampling"]
)
def test_ctrl_c_ends_without_a_traceback_and_loses_nothing(
    icdpo: Run, environment: dict[str, str], tmp_path: Path, wait: float
) -> None:
    begun = tmp_path / "begun"  # Python's own start, before the command, may take any time
    heeding = (
        # A shell starts what runs in its background with Ctrl-C ignored, and so the tests, and so this.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"from icdpo_chains.cli import main; open({str(begun)!r}, 'w').close(); main()"
    )
    asked = [*ICDPO[:-1], heeding, "ask", "Tell me a story.", "-n", "64", "--max-tokens", "2000"]
    with subprocess.Popen(
        asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            while not begun.exists():
                assert process.poll() is None
                time.sleep(0.01)
            time.sleep(wait)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()  # if it is still there, nobody else ends it
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert icdpo("demos", "list", "-l", "1").stdout.splitlines()[-1] == "1 of 72"


@pytest.mark.slow
def test_bad_input_is_one_line(icdpo: Run, tmp_path: Path) -> None:
    for arguments in (
        ["ask", "hi", "--model", str(tmp_path / "nowhere")],
        ["ask", "hi", "--device", "abacus"],
        ["ask", "hi", "--dtype", "float99"],
        ["ask", "x" * 100_000],
        ["demos", "list", "--store", str(tmp_path / "nowhere")],
        ["import", str(tmp_path / "nowhere.jsonl")],
    ):
        run = icdpo(*arguments)
        assert run.returncode == 1, arguments
        assert run.stdout == ""
        assert run.stderr.startswith("icdpo: ")
        assert run.stderr.count("\n") == 1, run.stderr
        assert "a bug" not in run.stderr


def test_a_closed_pipe_is_no_error(environment: dict[str, str]) -> None:
    with subprocess.Popen(
        [*ICDPO, "demos", "export", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
