"""VLLMServer: what is asked again and for how long, what each refusal says, and what is taken back."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from icdpo_chains.errors import PolicyError, PolicyUnavailableError
from icdpo_chains.foundation.concurrency import cancellation
from icdpo_chains.policies.vllm import server as vllm_server
from icdpo_chains.policies.vllm.server import VLLMServer

URL = "http://vllm.example:8000"
OK = httpx.Response(200, json={"fine": True})


class Clock:
    """Time that passes only while something sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now


class Script:
    """Answers with one thing after the other; the last one goes on for ever."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.requests = list(answers), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def server(answer: Callable[[httpx.Request], Any], clock: Clock | None = None, **options: Any) -> VLLMServer:
    clock = clock or Clock()
    options = {"sleep": clock.sleep, "clock": clock, **options}
    url, key = options.pop("url", URL), options.pop("key", "the-key")
    return VLLMServer(url, key, transport=httpx.MockTransport(answer), **options)


class Held:
    """Never answers; counts what has begun and what was taken back."""

    def __init__(self) -> None:
        self.begun, self.dropped = threading.Semaphore(0), threading.Semaphore(0)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.begun.release()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.dropped.release()
            raise
        return OK


@pytest.mark.parametrize(
    "failure",
    [
        *(
            httpx.Response(status, json={"error": {"message": "busy"}})
            for status in (429, 500, 502, 503, 504)
        ),
        httpx.ConnectError("connection refused"),
        httpx.ConnectTimeout("no route"),
        httpx.ReadError("connection reset"),
        httpx.RemoteProtocolError("server disconnected"),
    ],
    ids=repr,
)
def test_a_failure_that_may_pass_is_asked_again(failure: httpx.Response | Exception) -> None:
    script, clock = Script(failure, failure, failure, OK), Clock()
    with_pauses = server(script, clock)
    assert with_pauses.ask("v1/completions", [{"prompt": [1]}]) == [{"fine": True}]
    assert len({request.content for request in script.requests}) == 1
    assert len(script.requests) == 4
    assert clock.pauses == sorted(clock.pauses)
    assert 0 < clock.pauses[0] <= 1
    with_pauses.close()


def test_it_gives_up_when_the_time_is_over_since_the_first_failure() -> None:
    clock = Clock()

    def answer(request: httpx.Request) -> httpx.Response:
        if clock.pauses:
            return httpx.Response(503, json={"error": {"message": "Still  loading."}})
        clock.now += 10_000  # it worked for long before it failed
        return httpx.Response(502, text="gone")

    gives_up = server(answer, clock, retry_for=20)
    with pytest.raises(
        PolicyUnavailableError, match=r"8000 is unavailable after 20 s .* 503 Still loading\. C"
    ):
        gives_up.ask("v1/models", [None])
    assert sum(clock.pauses) == pytest.approx(20)
    assert len(clock.pauses) > 4
    never = server(Script(httpx.Response(503)), clock := Clock(), retry_for=0)
    with pytest.raises(PolicyUnavailableError):
        never.ask("v1/models", [None])
    assert clock.pauses == []


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("7", 7, 7),
        pytest.param(formatdate(time.time() + 7200, usegmt=True), 60, 60, id="in two hours"),
        (formatdate(0, usegmt=True), 0, 0),
        ("soon", 0, 1),
        ("-3", 0, 1),
        ("9" * 99, 60, 60),
    ],
)
def test_the_server_may_say_when_to_ask_again(value: str, least: float, most: float) -> None:
    clock = Clock()
    told = server(Script(httpx.Response(429, headers={"Retry-After": value}), OK), clock, retry_for=60)
    assert told.ask("v1/models", [None]) == [{"fine": True}]
    assert least <= clock.pauses[0] <= most


def test_a_server_that_is_slow_is_not_asked_again() -> None:
    script = Script(httpx.ReadTimeout("read"), OK)
    slow = server(script, timeout=5)
    with pytest.raises(PolicyUnavailableError, match=r"has not answered within 5 s.*longer timeout"):
        slow.ask("v1/completions", [{}])
    assert len(script.requests) == 1
    assert slow.ask("v1/completions", [{}]) == [{"fine": True}]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            httpx.Response(401, json={"error": "Unauthorized"}),
            r"refuses the API key \(401 Unauthorized\).*VLLM_API_KEY",
        ),
        (httpx.Response(403), "refuses the API key"),
        (httpx.Response(400, json={"error": {"message": "top_p must be"}}), r"8000/v1/x: 400 top_p must be$"),
        (
            httpx.Response(404, json={"error": {"message": "no model `a`"}}),
            r"404 no model `a`; is this a vLLM server",
        ),
        (httpx.Response(404, text="<html>not here</html>"), "404 <html>"),
        (httpx.Response(422, json=["odd"]), "422 .*odd"),
        (httpx.Response(307, headers={"Location": "/"}), "307"),
        (httpx.Response(200, text="<html>"), "does not answer with JSON"),
        (httpx.Response(200, content=b"\xff\xfe\x00"), "does not answer with JSON"),
    ],
    ids=repr,
)
def test_a_refusal_is_final_and_says_why(answer: httpx.Response, words: str) -> None:
    script = Script(answer)
    refusing = server(script)
    with pytest.raises(PolicyError, match=words) as caught:
        refusing.ask("v1/x", [{}])
    assert not isinstance(caught.value, PolicyUnavailableError)
    assert "the-key" not in str(caught.value)
    assert len(script.requests) == 1


def test_what_the_server_says_is_shown_up_to_some_length() -> None:
    with pytest.raises(PolicyError) as caught:
        server(Script(httpx.Response(400, text="x" * 10_000))).ask("v1/x", [{}])
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://vllm.example:8000", "http://vllm.example:8000/v1/models"),
        ("http://vllm.example:8000/v1/", "http://vllm.example:8000/v1/models"),
        (" https://vllm.example/a/v1?x=1#y ", "https://vllm.example/a/v1/models"),
        ("http://[::1]:80/", "http://[::1]/v1/models"),
    ],
)
def test_the_base_url(url: str, asked: str) -> None:
    script = Script(OK)
    server(script, url=url).ask("v1/models", [None])
    (request,) = script.requests
    assert str(request.url) == asked
    assert request.method == "GET"
    assert request.headers["Authorization"] == "Bearer the-key"


def test_a_password_in_the_url_is_sent_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    script = Script(httpx.Response(400))
    hidden = server(script, url="http://me:p4ss%20w@vllm.example:8000/v1", key=None)
    with pytest.raises(PolicyError) as caught:
        hidden.ask("v1/models", [None])
    assert httpx.BasicAuth("me", "p4ss w")._auth_header == script.requests[0].headers["Authorization"]
    assert hidden.url == URL
    assert "p4ss" not in f"{caught.value}{caplog.text}"


@pytest.mark.parametrize(
    "url", ["", "vllm.example:8000", "ftp://u:p4ss@vllm.example", "http://", "http://u:p4ss@"]
)
def test_a_url_that_can_t_be_read(url: str) -> None:
    with pytest.raises(ValueError, match="must look like") as caught:
        VLLMServer(url)
    assert "p4ss" not in str(caught.value)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"retry_for": -1}, {"max_in_flight": 0}])
def test_numbers_that_can_t_be_used(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        VLLMServer(URL, **options)


@pytest.mark.parametrize("key", ["se\ncret", "sécret", "se\0cret"])
def test_a_key_that_no_header_can_hold(key: str) -> None:
    with pytest.raises(ValueError, match="API key contains") as caught:
        VLLMServer(URL, key)
    assert "cret" not in str(caught.value)


def test_an_event_takes_requests_back() -> None:
    held, event = Held(), threading.Event()
    holding = server(held)

    def release() -> None:
        for _ in range(3):
            held.begun.acquire()
        event.set()

    token = cancellation.set(event)
    threading.Thread(target=release).start()
    try:
        with pytest.raises(CancelledError):
            holding.ask("v1/completions", [{}] * 3)
    finally:
        cancellation.reset(token)
    assert all(held.dropped.acquire(timeout=30) for _ in range(3))


def test_a_pause_can_be_taken_back_as_well() -> None:
    event = threading.Event()
    script = Script(httpx.Response(503, headers={"Retry-After": "3600"}))
    pausing = server(script, sleep=asyncio.sleep, retry_for=3600)
    token = cancellation.set(event)
    threading.Timer(0.1, event.set).start()
    try:
        with pytest.raises(CancelledError):
            pausing.ask("v1/completions", [{}])
    finally:
        cancellation.reset(token)


def test_ctrl_c_takes_requests_back(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()

    def interrupted(*_: Any) -> None:
        held.begun.acquire()
        raise KeyboardInterrupt

    monkeypatch.setattr(vllm_server, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        server(held).ask("v1/completions", [{}])
    assert held.dropped.acquire(timeout=30)


def test_one_that_is_refused_takes_the_others_back() -> None:
    held = Held()

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.content == b"{}":
            return await held(request)
        return httpx.Response(400, text="no")

    with pytest.raises(PolicyError, match="400 no"):
        server(answer).ask("v1/completions", [{}, {}, {"refuse": 1}])
    assert all(held.dropped.acquire(timeout=30) for _ in range(2))


def test_no_more_at_once_than_allowed_and_every_thread_gets_its_own() -> None:
    now, most = 0, 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        return httpx.Response(200, content=request.content)

    counted = server(answer, max_in_flight=5)
    with ThreadPoolExecutor(32) as threads:
        bodies = [[{"number": 10 * i + j} for j in range(10)] for i in range(32)]
        assert list(threads.map(lambda own: counted.ask("v1/completions", own), bodies)) == bodies
    assert most == 5


def test_closing_takes_back_what_runs_and_a_later_request_opens_again() -> None:
    held = Held()
    closed = server(held)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(closed.ask, "v1/completions", [{}])
        held.begun.acquire()
        closed.close()
        with pytest.raises(CancelledError):
            waiting.result(30)
    closed.close()
    again = server(Script(OK))
    for _ in range(2):
        assert again.ask("v1/models", [None]) == [{"fine": True}]
        again.close()
    assert again.ask("v1/models", []) == []


def test_a_server_that_is_forgotten_leaves_no_thread() -> None:
    forgotten = server(Script(OK))
    forgotten.ask("v1/models", [None])
    assert forgotten._connection is not None
    thread = forgotten._connection._thread
    del forgotten
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_asks_on_a_connection_of_its_own() -> None:
    forked = server(Script(OK))
    forked.ask("v1/models", [None])

    def child() -> None:
        sys.exit(0 if forked.ask("v1/models", [None]) == [{"fine": True}] else 1)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    try:
        assert process.exitcode == 0
    finally:
        process.kill()
    assert forked.ask("v1/models", [None]) == [{"fine": True}]
