"""Bodies of requests over HTTP: whole, within their limits, or refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from icdpo_chains.mcp.whole_bodies import WholeBodies
from icdpo_chains.server.middleware.body_limit import BodyLimit


async def answered(*packets: Any, seconds: float = 20, most: int = 10) -> tuple[list[Any], list[Any]]:
    """What the application has read and what the client has got; a `None` is never sent."""
    read: list[Any] = []
    sent: list[Any] = []
    waiting = list(packets)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        read.extend([await receive(), await receive()])

    async def receive() -> Any:
        packet = waiting.pop(0) if waiting else {"type": "http.disconnect"}
        if packet is None:
            await asyncio.Event().wait()
        return packet

    async def send(message: Any) -> None:
        sent.append(message)

    await BodyLimit(WholeBodies(app), most, seconds)({"type": "http", "method": "POST"}, receive, send)
    return read, sent


def part(body: bytes, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_is_passed_on_whole_and_then_the_disconnection() -> None:
    message = b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}'
    read, sent = await answered(part(message[:9], True), part(message[9:], False), most=100)
    assert read == [part(message, False), {"type": "http.disconnect"}]
    assert not sent


@pytest.mark.parametrize(
    "packets", [[part(b"12345678901", False)], [part(b"123456", True)] * 9], ids=["1", "9"]
)
async def test_a_large_body_is_refused_before_all_is_read(packets: list[Any]) -> None:
    read, sent = await answered(*packets)
    assert (read, sent[0]["status"]) == ([], 413)
    assert b"more than 10 bytes" in sent[1]["body"]


async def test_a_half_sent_body_is_not_waited_for() -> None:
    read, sent = await answered(part(b"1", True), None, seconds=0.05)
    assert (read, sent[0]["status"]) == ([], 408)


async def test_a_client_that_leaves_gets_no_answer() -> None:
    assert await answered(part(b"1", True)) == ([], [])


@pytest.mark.parametrize("status", [400, 421])
async def test_a_body_that_is_no_message_is_refused_after_the_checks_of_the_sdk(status: int) -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b"null"
        await PlainTextResponse("the text of the SDK", status)(scope, receive, send)

    async def receive() -> Any:
        return part(b"[" * 100_000, False)

    async def send(message: Any) -> None:
        sent.append(message)

    await WholeBodies(app)({"type": "http", "method": "POST"}, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == status
    said = b"the text of the SDK" if status == 421 else b"the message is nested too deeply"
    assert said in sent[1]["body"]


async def test_a_body_that_is_half_sent_at_the_end_of_a_shutdown_gets_an_answer() -> None:
    """uvicorn cancels the request, and would log a traceback for each."""
    sent: list[Any] = []
    waits = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    async def receive() -> Any:
        waits.set()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    request = asyncio.ensure_future(
        BodyLimit(WholeBodies(app), 10, 20)({"type": "http", "method": "POST"}, receive, send)
    )
    await waits.wait()
    request.cancel()
    await request
    assert sent[0]["status"] == 503
