"""The access log: one line for each request, without texts."""

from __future__ import annotations

import json
import logging
import re

import httpx
import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from icdpo_chains.server.middleware import access_log

from ..client import QUESTION, make_client

SECRET = "My dog is ill"


async def test_a_line_has_the_endpoint_and_the_id_and_no_text(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger=access_log.__name__):
        async with make_client() as client:
            answer = await client.post("/v1/chat/completions", json={"model": "fake", "messages": QUESTION})
            missing = await client.get(f"/v1/nothing/{SECRET}?query={SECRET}")
    lines = [record.getMessage() for record in caplog.records if record.name == access_log.__name__]
    assert len(lines) == 2
    assert re.fullmatch(
        rf"127\.0\.0\.1 POST /v1/chat/completions 200 \d+\.\d+ s {answer.headers['x-request-id']}", lines[0]
    )
    assert " GET other 404 " in lines[1]
    assert missing.headers["x-request-id"] != answer.headers["x-request-id"]
    assert SECRET not in "".join(lines)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-1.2_3", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ("é", False), ("", False)],
)
async def test_a_clients_id_is_kept_if_it_is_harmless(given: str, kept: bool) -> None:
    async with make_client() as client:
        answer = await client.get("/health", headers={"X-Request-ID": given.encode()})
    assert (answer.headers["x-request-id"] == given) is kept


@pytest.mark.parametrize(
    ("sent", "logged"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        (SECRET, "unknown"),
        ("\x9b31m", "unknown"),
        ("1.2.3.4 GET /health 200 0.1 s x\x85icdpo: 1.2.3.4", "unknown"),
        ("x" * 1000, "unknown"),
    ],
    ids=["IPv4", "IPv6", "text", "control", "forged line", "long"],
)
async def test_no_header_and_no_method_writes_a_text(
    sent: str, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    """uvicorn takes the client's address from `X-Forwarded-For`, whatever is in it."""
    caplog.set_level(logging.INFO, logger=access_log.__name__)
    async with make_client() as client:
        transport = httpx.ASGITransport(ProxyHeadersMiddleware(client.app))  # type: ignore[attr-defined]
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as proxied:
        await proxied.request("MYDOGISILL", "/health", headers={"X-Forwarded-For": sent.encode("latin-1")})
    (line,) = [record.getMessage() for record in caplog.records if record.name == access_log.__name__]
    assert re.fullmatch(rf"{re.escape(logged)} other /health 405 \d+\.\d+ s \w{{16}}", line)


@pytest.mark.parametrize("as_json", [False, True])
async def test_the_styles(
    as_json: bool, capsys: pytest.CaptureFixture[str], access_logger: logging.Logger
) -> None:
    access_log.write_to_stderr(as_json=as_json)
    async with make_client() as client:
        await client.get("/health")
    said = capsys.readouterr().err
    if not as_json:
        assert re.fullmatch(r"icdpo: 127\.0\.0\.1 GET /health 200 \d+\.\d+ s \w{16}\n", said)
    else:
        line = json.loads(said)
        assert (line["endpoint"], line["status"], line["client"]) == ("/health", 200, "127.0.0.1")
        assert set(line) == {"time", "id", "client", "method", "endpoint", "status", "seconds"}
