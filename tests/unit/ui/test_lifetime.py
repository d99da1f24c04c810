"""The page starts with its first request, and its streams end with the server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from icdpo_chains.server.queue import Queue
from icdpo_chains.ui.lifetime import Lifetime

SCOPE: Scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
START = {"type": "http.response.start", "status": 200, "headers": []}


class Life:
    """A context that records what happens."""

    def __init__(self) -> None:
        self.events: list[str] = []

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        self.events.append("begun")
        try:
            yield
        finally:
            self.events.append("ended")


async def request(page: Lifetime) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await asyncio.Event().wait()

    await page(SCOPE, receive, send)
    return sent


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": b"page"})


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": b"beat", "more_body": True})
    await asyncio.Event().wait()


async def test_the_first_request_starts_it_once() -> None:
    life, queue = Life(), Queue(1, 1.0)
    page = Lifetime(answer, life, queue, last_words=0)
    assert life.events == []
    for _ in range(2):
        assert [message.get("body") for message in await request(page)] == [None, b"page"]
    assert life.events == ["begun"]
    queue.closing = True
    assert page._life is not None
    await page._life
    assert life.events == ["begun", "ended"]


async def test_streams_end_after_the_last_question() -> None:
    life, queue = Life(), Queue(1, 1.0)
    queue.taken = 1
    page = Lifetime(stream, life, queue, last_words=0)
    open_stream = asyncio.ensure_future(request(page))
    await asyncio.sleep(0.05)
    queue.closing = True
    await asyncio.sleep(0.5)
    assert not open_stream.done(), "a question is in progress"
    queue.taken = 0
    sent = await asyncio.wait_for(open_stream, 20)
    assert [message.get("body") for message in sent] == [None, b"beat", b""]
    assert not sent[-1].get("more_body")
    assert life.events == ["begun", "ended"]


async def test_a_request_after_the_end_gets_503() -> None:
    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    queue = Queue(1, 1.0)
    queue.closing = True
    sent = await asyncio.wait_for(request(Lifetime(never, Life(), queue, last_words=0)), 20)
    assert sent[0]["status"] == 503


async def test_errors_pass() -> None:
    async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("fault")

    with pytest.raises(KeyError):
        await request(Lifetime(faulty, Life(), Queue(1, 1.0)))


async def test_a_page_that_cannot_start_says_why_and_blocks_nobody() -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        raise OSError("no room")
        yield

    page = Lifetime(stream, broken, Queue(1, 1.0))
    sent = await asyncio.wait_for(request(page), 20)
    assert sent[-1].get("body") in (b"", b"The server is shutting down.\n")
    assert page._life is not None
    with pytest.raises(OSError, match="no room"):
        await page._life
