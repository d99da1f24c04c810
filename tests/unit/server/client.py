"""A client of an application in this process, without sockets, and a policy that a test can hold up."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from typing import Any

import httpx

from icdpo_chains import ICDPO, FakePolicy, FixedDemonstrations, Sample, SamplingParams
from icdpo_chains.server import create_app
from tests.unit.fake_core import DEMONSTRATIONS, make_core

QUESTION = [{"role": "user", "content": "My dog is ill."}]


def make_client(core: ICDPO | None = None, *, key: str | None = None, **options: Any) -> httpx.AsyncClient:
    """A client of the application of this core; `.app` is the application."""
    app = create_app(core or make_core(), api_key=key, **options)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=headers)
    client.app = app  # type: ignore[attr-defined]
    return client


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The chunks of a stream, which must end with `[DONE]`."""
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


class HeldPolicy(FakePolicy):
    """Samples nothing until it is let go; `begun` counts those who ask."""

    def __init__(self, responses: Any = ("an answer",)) -> None:
        super().__init__(responses)
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)

    def sample(self, context: Sequence[int], n: int, sampling: SamplingParams) -> list[Sample]:
        self.begun.release()
        assert self.go.wait(20)
        return super().sample(context, n, sampling)

    def core(self) -> ICDPO:
        return ICDPO(self, FixedDemonstrations(DEMONSTRATIONS, k=2), n=2)


class Exchange:
    """One request, spoken in ASGI, so that a test decides when the client goes away.

    Args:
        app: the application.
        body: the request's.
        spec: the version of ASGI.
    """

    def __init__(self, app: Any, body: dict[str, Any], path: str = "/v1/chat/completions") -> None:
        self.sent: list[dict[str, Any]] = []
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._incoming.put_nowait({"type": "http.request", "body": json.dumps(body).encode()})
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
        }
        self.task = asyncio.ensure_future(app(scope, self._incoming.get, self._send))

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    def leave(self) -> None:
        """The client closes the connection."""
        self._incoming.put_nowait({"type": "http.disconnect"})
        self._incoming.put_nowait({"type": "http.disconnect"})

    @property
    def text(self) -> str:
        """What the client has got so far."""
        return b"".join(message.get("body", b"") for message in self.sent).decode()


async def until(condition: Any) -> None:
    """Waits until a condition holds."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to that")
