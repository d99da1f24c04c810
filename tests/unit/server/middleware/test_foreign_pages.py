"""Web pages of other origins."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from icdpo_chains import DemonstrationStore, FakeEmbedder, TwoStageRetriever
from icdpo_chains.foundation.network import from_foreign_page
from icdpo_chains.server import create_app
from tests.unit.fake_core import make_core
from tests.unit.server.client import QUESTION

NEW = [{"prompt": "My bird is ill.", "chosen": "Planted by a web page."}]
JSON = (b"content-type", b"application/json")


@pytest.fixture
def store() -> Iterator[DemonstrationStore]:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        yield store


def spoken(
    app: Any, headers: list[tuple[bytes, bytes]], path: str, body: Any, method: str = "POST"
) -> tuple[int, str]:
    """The status and body of one request in plain ASGI: no client adds a header."""
    sent: list[Any] = []
    unread = [json.dumps(body).encode()]

    async def receive() -> dict[str, Any]:
        if not unread:
            await asyncio.sleep(60)  # the client waits for the answer
        return {"type": "http.request", "body": unread.pop(), "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8000"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent).decode()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 415),
        ([(b"content-type", b"")], 415),
        ([(b"content-type", b"text/plain;charset=UTF-8")], 415),
        ([(b"content-type", b"application/x-www-form-urlencoded")], 415),
        ([(b"content-type", b"text/plain; application/json")], 415),
        ([(b"content-type", b"js\xf6n")], 415),
        ([JSON, (b"origin", b"https://evil.example")], 403),
        ([JSON, (b"origin", b"http://127.0.0.1:3000")], 403),
        ([JSON, (b"origin", b"null")], 403),
        ([JSON, (b"origin", b"http://[")], 403),
        ([JSON, (b"sec-fetch-site", b"cross-site")], 403),
        ([JSON, (b"sec-fetch-site", b"same-site")], 403),
        ([JSON, (b"sec-fetch-site", b"cross-site"), (b"origin", b"http://127.0.0.1:8000")], 403),
        ([JSON], 200),
        ([(b"content-type", b"Application/JSON; charset=utf-8")], 200),
        ([JSON, (b"origin", b"http://127.0.0.1:8000"), (b"sec-fetch-site", b"same-origin")], 200),
        ([JSON, (b"origin", b"http://127.0.0.1:8000")], 200),
        ([JSON, (b"sec-fetch-site", b"none")], 200),
    ],
)
@pytest.mark.parametrize("key", [None, "k"])
def test_a_foreign_page_writes_no_demonstration_and_asks_nothing(
    store: DemonstrationStore, headers: list[tuple[bytes, bytes]], status: int, key: str | None
) -> None:
    app = create_app(make_core(), demonstrations=store, api_key=key)
    sent = [*headers, (b"authorization", b"Bearer k")]
    for path, body in (("/v1/demonstrations", NEW), ("/v1/chat/completions", {"messages": QUESTION})):
        got, text = spoken(app, sent, path, body)
        assert got == status
        if status != 200:
            assert json.loads(text)["error"]["code"] == ("not_json" if status == 415 else "foreign_origin")
    assert len(store) == (status == 200)


def test_a_foreign_page_removes_nothing_and_may_read_the_health(store: DemonstrationStore) -> None:
    app = create_app(make_core(retriever=TwoStageRetriever(store)), demonstrations=store)
    foreign = [(b"origin", b"https://evil.example")]
    path = f"/v1/demonstrations/{'0' * 32}"
    assert spoken(app, foreign, path, None, "DELETE")[0] == 403
    assert spoken(app, [], path, None, "DELETE")[0] == 404
    assert spoken(app, foreign, "/health", None, "GET")[0] == 200


@pytest.mark.parametrize(
    ("origin", "host", "foreign"),
    [
        ("http://localhost", "localhost:80", False),
        ("https://icdpo.example", "icdpo.example", False),
        ("https://icdpo.example:443", "icdpo.example", False),
        ("http://ICDPO.example:8000", "icdpo.example:8000", False),
        ("http://[::1]:8000", "[::1]:8000", False),
        ("http://icdpo.example.evil", "icdpo.example", True),
        ("http://evil@127.0.0.1:8000x", "127.0.0.1:8000", True),
        ("http://localhost:8000", "127.0.0.1:8000", True),
        ("chrome-extension://abc", "127.0.0.1:8000", True),
        ("http://x", "", True),
        ("x", "x", True),
    ],
)
def test_the_origin_is_compared_by_host_and_port(origin: str, host: str, foreign: bool) -> None:
    assert from_foreign_page([(b"origin", origin.encode()), (b"host", host.encode())]) == foreign
