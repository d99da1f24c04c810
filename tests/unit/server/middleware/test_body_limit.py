"""A body that does not arrive in time."""

from __future__ import annotations

import asyncio
from typing import Any

from icdpo_chains.server.middleware.body_limit import BodyLimit

from ..client import make_client


async def test_a_half_sent_body_ends_the_request() -> None:
    async with make_client() as client:
        app = BodyLimit(client.app, most=1000, seconds=0.05)  # type: ignore[attr-defined]
    sent: list[Any] = []
    parts = iter([{"type": "http.request", "body": b'{"mess', "more_body": True}])

    async def receive() -> Any:
        part = next(parts, None)
        if part is None:
            await asyncio.sleep(60)
        return part

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "raw_path": b"",
        "root_path": "",
    }
    scope |= {"query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http"}
    await asyncio.wait_for(app(scope, receive, send), 20)
    assert sent[0]["status"] == 408
    assert b"did not arrive within 0.05 seconds" in sent[1]["body"]


async def test_a_disconnection_after_the_body_is_awaited_without_a_limit() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b"all"
        assert (await receive())["type"] == "http.disconnect"

    async def receive() -> Any:
        if not asked:
            asked.append(True)
            return {"type": "http.request", "body": b"all", "more_body": False}
        await asyncio.sleep(0.1)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError

    asked: list[bool] = []
    await BodyLimit(app, most=10, seconds=0.01)({"type": "http"}, receive, send)
