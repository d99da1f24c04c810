"""A Chroma server that is away, that refuses, or that is asked for what it has not."""

from __future__ import annotations

import socket
from collections.abc import Callable

import httpx
import pytest
from chromadb.api.base_http_client import BaseHTTPClient
from chromadb.errors import ChromaAuthError

from icdpo_chains.demonstrations.chroma.http import Server
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import StoreError, StoreUnavailableError

TOKEN = "s3cret-token"


def answered(status: int, text: str = "<html>\n a page </html>") -> Exception:
    """What Chroma's client raises for an answer that is none of Chroma's."""
    with pytest.raises(Exception) as caught:
        BaseHTTPClient._raise_chroma_error(
            httpx.Response(status, text=text, request=httpx.Request("GET", "http://host/"))
        )
    return caught.value


def failing(times: int, error: Exception) -> tuple[Callable[..., int], list[int]]:
    calls: list[int] = []

    def call(number: int) -> int:
        calls.append(number)
        if len(calls) <= times:
            raise error
        return number

    return call, calls


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("server disconnected"),
        httpx.ConnectTimeout(""),
        answered(502),
        answered(503),
        answered(504),
    ],
)
def test_a_request_is_made_again_while_the_server_is_away(error: Exception) -> None:
    call, calls = failing(2, error)
    assert Server("host", 1).request(call, number=7) == 7
    assert calls == [7, 7, 7]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no such operator"),
        httpx.LocalProtocolError("a header that can't be"),
        ChromaAuthError(),
        answered(401),
        answered(500),
        answered(404, '{"error": "NotFoundError", "message": "no such collection"}'),
    ],
)
def test_what_would_fail_again_is_asked_once(error: Exception) -> None:
    call, calls = failing(1, error)
    with pytest.raises(type(error)):
        Server("host", 1).request(call, number=7)
    assert calls == [7]


def test_an_error_that_the_caller_handles_is_not_taken_for_the_server_s() -> None:
    call, calls = failing(1, RuntimeError("ours"))
    try:
        raise answered(503)
    except Exception:
        with pytest.raises(RuntimeError, match="ours"):
            Server("host", 1).request(call, number=7)
    assert calls == [7]


def test_patience_has_an_end() -> None:
    server = Server("host", 1, retry_for=0)
    call, calls = failing(9, httpx.ConnectError("refused"))
    says = r"host:1 does not answer \(refused; .* 0 seconds.*twice"
    with pytest.raises(StoreUnavailableError, match=says), server.errors():
        server.request(call, number=7)
    assert calls == [7]
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"retry_for is {wrong}, and must"):
            Server("host", 1, retry_for=wrong)


@pytest.mark.parametrize("error", [answered(401), answered(403), ChromaAuthError("no")])
def test_a_refusal_says_what_to_give_and_shows_no_token(error: Exception) -> None:
    server = Server("host", 1, token=TOKEN)
    says = r"refuses access \(.*\): give the right token="
    with pytest.raises(StoreUnavailableError, match=says), server.errors():
        raise error
    assert TOKEN not in f"{server} {server!r}"


@pytest.mark.parametrize("token", ["", "two words", "line\n", "naïve", "\x7f"])
def test_a_token_that_no_header_carries_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ValueError, match="the token must be ASCII") as caught:
        DemonstrationStore.connect(token=token, embedder=FakeEmbedder())
    assert not token or token not in str(caught.value)


def test_other_errors_keep_their_words() -> None:
    server = Server("host", 1, tenant="a", database="b")
    server._client = object()
    with pytest.raises(StoreError, match=r"host:1 .tenant 'a', database 'b'.: odd"), server.errors():
        raise RuntimeError("odd")
    assert str(Server("host", 1)) == "the Chroma server at host:1"


def test_connecting_where_nobody_answers_fails_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listening: nobody answers, and nobody else can take it
        port = taken.getsockname()[1]
        with pytest.raises(StoreUnavailableError, match=rf"127.0.0.1:{port} can't be reached.*chroma run"):
            DemonstrationStore.connect(port=port, embedder=FakeEmbedder(), retry_for=1e9)
