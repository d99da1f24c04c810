"""Signals, clients that are killed, and the command itself with the default model."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.fake_core import KIND

CHAT = "/v1/chat/completions"


def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def ask(server: Any, tag: str, **body: Any) -> httpx.Response:
    messages = [{"role": "user", "content": f"Help: {tag}"}]
    return httpx.post(f"{server.root}{CHAT}", json={"messages": messages, **body}, timeout=60)


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_what_runs_is_finished_and_nothing_new_is_taken(start: Any, sig: int) -> None:
    server = start("--seconds", "2")
    with ThreadPoolExecutor() as threads:
        plain = threads.submit(ask, server, "tag1")
        stream = threads.submit(ask, server, "tag2", stream=True)
        until(lambda: server.metric("icdpo_waiting") == 2)
        server.process.send_signal(sig)
        until(lambda: httpx.get(f"{server.root}/health").status_code == 503)
        assert ask(server, "tag3").status_code == 503
        assert plain.result().json()["choices"][0]["message"]["content"] == f"{KIND} tag1"
        assert stream.result().text.endswith("data: [DONE]\n\n")
    assert server.process.wait(30) == 0
    assert not any("Traceback" in line for line in server.lines)


def test_a_second_signal_does_not_wait(start: Any) -> None:
    server = start("--seconds", "300")
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(ask, server, "tag1")
        until(lambda: server.metric("icdpo_waiting") == 1)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{server.root}/health").status_code == 503)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        assert asked.result().status_code == 503
    assert not any("Traceback" in line for line in server.lines)


@pytest.mark.parametrize("stream", ["", '"stream": true, '])
def test_clients_that_are_killed_free_their_slots(start: Any, stream: str) -> None:
    server = start("--seconds", "300", "--max-waiting", "3")
    code = (
        "import sys, urllib.request; urllib.request.urlopen(urllib.request.Request(sys.argv[1], "
        "sys.argv[2].encode(), {'Content-Type': 'application/json'})).read()"
    )
    body = f'{{{stream}"messages": [{{"role": "user", "content": "hi"}}]}}'
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", code, f"{server.root}{CHAT}", body], stderr=subprocess.DEVNULL
        )
        for _ in range(3)
    ]
    try:
        until(lambda: server.metric("icdpo_waiting") == 3)
        assert ask(server, "tag").status_code == 429
    finally:
        for client in clients:
            client.kill()
            client.wait()
    until(lambda: server.metric("icdpo_waiting") == 0)
    until(lambda: server.metric(f'icdpo_requests_total{{endpoint="{CHAT}",status="499"}}') == 3)


def test_a_large_body_is_refused_while_it_is_sent(start: Any) -> None:
    server = start()

    def chunks() -> Any:
        for _ in range(64):
            yield b" " * 2**20

    headers = {"Content-Type": "application/json"}
    try:
        response = httpx.post(f"{server.root}{CHAT}", content=chunks(), headers=headers, timeout=60)
    except httpx.NetworkError:  # the server may close before the client reads
        pass
    else:
        assert response.status_code == 413
    assert server.metric("process_resident_memory_bytes") < 2**30
    until(lambda: server.metric(f'icdpo_requests_total{{endpoint="{CHAT}",status="413"}}') == 1)


def test_the_command_with_the_default_model(start: Any, tmp_path: Path) -> None:
    icdpo = Path(sys.executable).with_name("icdpo")
    store = tmp_path / "store"
    subprocess.run(
        [icdpo, "import", "icdpo_chains/demonstrations/starter.jsonl", "--store", store], check=True
    )
    command = [str(icdpo), "serve", "--port", "0", "--store", str(store), "--n", "2", "--max-tokens", "16"]
    server = start(command=[*command, "--demonstrations"])
    with ThreadPoolExecutor() as threads:
        answers = list(threads.map(lambda i: ask(server, f"How do I sleep better, {i}?", seed=i), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert all(answer.json()["choices"][0]["message"]["content"].strip() for answer in answers)
    again = ask(server, "How do I sleep better, 2?", seed=2)
    assert again.json()["choices"] == answers[2].json()["choices"]  # whatever it was sampled with
    assert server.metric("icdpo_batch_questions_sum") == 5
    added = [{"prompt": "Zebra crossing?", "chosen": "Look left, then right.", "rejected": "Run."}]
    ids = httpx.post(f"{server.url}/demonstrations", json=added, timeout=60).json()["ids"]
    shown = ask(server, "Zebra crossing?", icdpo={"k": 1}).json()["icdpo"]["demonstrations"]
    assert shown == ids
    assert server.stop() == 0
    assert os.path.isdir(store)
