"""Texts that are no message of the protocol get a plain error, over each transport."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from starlette.testclient import TestClient

from icdpo_chains.mcp import create_mcp_server
from icdpo_chains.mcp.json_rpc import refusal_of
from icdpo_chains.mcp.whole_bodies import WholeBodies

from ..fake_core import make_core

INVALID: dict[str, tuple[str, int, Any, str]] = {
    # the code, the id and a part of the message, by the text
    "null": ("null", -32600, "server-error", "the message is null: send a JSON object"),
    "text": ('"hello"', -32600, "server-error", 'the message is "hello": send a JSON object'),
    "empty list": ("[]", -32600, "server-error", "send each message by itself"),
    "batch": (
        '[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]',
        -32600,
        "server-error",
        "send each message by itself",
    ),
    "empty": ("{}", -32600, "server-error", '"jsonrpc" is null, and must be "2.0"'),
    "version": ('{"jsonrpc": 2.0, "id": 7, "method": "ping"}', -32600, 7, '"jsonrpc" is 2.0, and must be'),
    "no method": ('{"jsonrpc": "2.0", "id": 7}', -32600, "server-error", 'the message has no "method"'),
    "method": ('{"jsonrpc": "2.0", "id": 7, "method": 5}', -32600, 7, '"method" is 5, and must be a string'),
    "params": (
        '{"jsonrpc": "2.0", "id": "a", "method": "ping", "params": [1]}',
        -32600,
        "a",
        '"params" is [1], and must be an object',
    ),
    **{
        f"id {value}": (
            f'{{"jsonrpc": "2.0", "id": {value}, "method": "ping"}}',
            -32600,
            "server-error",
            f'"id" is {value}, and must be a string or a whole number',
        )
        for value in ("null", "true", "1.5", "[1]")
    },
    "result": ('{"jsonrpc": "2.0", "id": 7, "result": 5}', -32600, "server-error", "no message of JSON-RPC"),
    "no JSON": ("{'a': 1}", -32700, "server-error", "the message is not JSON (Expecting property name"),
    "cut": ('{"jsonrpc": "2.0", ', -32700, "server-error", "the message is not JSON"),
    "nested": ("[" * 100_000, -32700, "server-error", "the message is nested too deeply"),
    "digits": (f'{{"id": {"1" * 5000}}}', -32700, "server-error", "the message can't be read"),
    "not UTF-8": ('{"id": "\udcff"}', -32700, "server-error", "the message is not UTF-8"),
}
ONLY_IN_LINES = {
    # The SDK's parser of lines is stricter.
    "half a character": (
        '{"jsonrpc": "2.0", "id": 7, "method": "ping", "params": {"a": "\\ud800"}}',
        -32600,
        7,
        "Invalid JSON: ",
    ),
}
VALID = [
    '{"jsonrpc": "2.0", "id": 1, "method": "ping"}',
    '{"jsonrpc": "2.0", "id": "a", "method": "ping", "params": null}',
    '{"jsonrpc": "2.0", "method": "notifications/initialized"}',
    '{"jsonrpc": "2.0", "id": 1, "result": {}}',
    '{"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "m"}}',
]


@pytest.mark.parametrize("name", [*INVALID, *ONLY_IN_LINES])
def test_a_text_that_is_no_message_is_refused_with_its_fault(name: str) -> None:
    text, *expected, says = {**INVALID, **ONLY_IN_LINES}[name]
    texts = [text] if name in ONLY_IN_LINES else [text, text.encode("utf-8", "surrogateescape")]
    for given in texts:
        refusal = refusal_of(given)
        assert refusal is not None
        assert [refusal.error.code, refusal.id] == expected
        assert says in refusal.error.message
        assert len(refusal.error.message) < 200
        assert "pydantic" not in refusal.error.message


@pytest.mark.parametrize("text", VALID)
def test_a_message_is_passed_on(text: str) -> None:
    assert refusal_of(text) is None
    assert refusal_of(text.encode()) is None


def test_over_http_a_text_that_is_no_message_is_refused_with_its_fault() -> None:
    app = create_mcp_server(make_core()).streamable_http_app()
    app.add_middleware(WholeBodies)
    headers = {
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "Host": "127.0.0.1",
    }
    with TestClient(app) as client:
        for text, code, id_, says in INVALID.values():
            body = text.encode("utf-8", "surrogateescape")
            answer = client.post("/mcp", content=body, headers=headers)
            assert (answer.status_code, answer.json()["id"]) == (400, id_), text[:60]
            assert answer.json()["error"]["code"] == code
            assert says in answer.json()["error"]["message"]
            # A web page whose host name resolves to this machine learns nothing of the server.
            refused = client.post("/mcp", content=body, headers={**headers, "Host": "evil.example"})
            assert refused.status_code == 421


def test_on_standard_input_a_text_that_is_no_message_is_answered_with_its_fault() -> None:
    program = """if True:
        from icdpo_chains.mcp import create_mcp_server
        from icdpo_chains.mcp.transports import protocol_output, run_stdio
        with protocol_output() as output:
            run_stdio(create_mcp_server(lambda: None), output)
    """
    hello = {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    first = {"jsonrpc": "2.0", "id": 99, "method": "initialize", "params": hello}
    expected = [*INVALID.values(), *ONLY_IN_LINES.values()]
    lines = ["", *(text for text, *_ in expected), json.dumps(first)]
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="surrogateescape",
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write("".join(f"{line}\n" for line in lines))
        server.stdin.flush()
        answers = [json.loads(server.stdout.readline()) for _ in lines[1:]]
        _, log = server.communicate(timeout=60)
    for answer, (text, code, id_, says) in zip(answers, expected, strict=False):
        assert (answer["id"], answer["error"]["code"]) == (id_, code), text[:60]
        assert says in answer["error"]["message"]
    assert answers[-1]["id"] == 99
    assert answers[-1]["result"]["serverInfo"]["name"] == "icdpo"
    assert log == ""
