"""Requests while the server shuts down, on a real connection."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from icdpo_chains.foundation.network import bind
from icdpo_chains.server import create_app, uvicorn_server
from tests.unit.server.client import QUESTION, HeldPolicy


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_shutdown_logs_no_traceback(
    cancelled: bool, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    policy = HeldPolicy()
    app, bound, ready = create_app(policy.core()), bind("127.0.0.1", 0), threading.Event()
    queue, address = app.state.service.queue, bound.getsockname()
    server = threading.Thread(target=uvicorn_server.serve, args=(app, bound, ready.set), daemon=True)
    server.start()
    assert ready.wait(20)
    base = f"http://{address[0]}:{address[1]}"
    ask = {"messages": QUESTION}

    def post(path: str, **body: object) -> httpx.Response:
        return httpx.post(f"{base}{path}", json=body, timeout=60)

    with ThreadPoolExecutor() as clients:
        chat = "/v1/chat/completions"
        waiting = [clients.submit(post, chat, **ask, stream=stream) for stream in (False, True)]
        until(lambda: queue.taken == 2)
        queue.closing = True
        refused = [
            post(chat, **ask),
            post(chat, **ask, stream=True),
            post("/v1/completions", prompt="hi"),
            post("/v1/score", prompt="hi", responses=["a"]),
        ]
        assert [response.status_code for response in refused] == [503] * 4
        if cancelled:
            queue.cancel()
        policy.go.set()
        answers = [each.result() for each in waiting]
        assert [answer.status_code for answer in answers] == [503 if cancelled else 200] * 2
    server.join(30)
    assert not server.is_alive()
    assert not [record for record in caplog.records if record.exc_info]
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/score"])
def test_a_half_sent_body_gets_an_answer_at_the_end(
    path: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uvicorn_server, "_LINGER", 1)
    caplog.set_level(logging.INFO)
    app, bound, ready = create_app(HeldPolicy().core()), bind("127.0.0.1", 0), threading.Event()
    address = bound.getsockname()
    server = threading.Thread(target=uvicorn_server.serve, args=(app, bound, ready.set), daemon=True)
    server.start()
    assert ready.wait(20)
    with socket.create_connection(address, timeout=30) as client:
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        client.sendall(f'{head}Content-Length: 100\r\n\r\n{{"mess'.encode())
        time.sleep(0.5)
        app.state.service.queue.closing = True
        answer = b""
        while packet := client.recv(1 << 16):
            answer += packet
    server.join(30)
    assert not server.is_alive()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"shutting_down" in answer
    assert not [record for record in caplog.records if record.exc_info]
    assert "Traceback" not in capfd.readouterr().err
