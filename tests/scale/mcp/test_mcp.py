"""`icdpo mcp` as clients know it: the SDK's own client, over standard input and output and over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

ICDPO = [str(Path(sys.executable).with_name("icdpo")), "mcp"]
FAKE = [sys.executable, str(Path(__file__).with_name("mcp_fake.py")), "mcp", "--n", "2"]
KIND = "I am sorry. Shall we talk?"
QUESTION = {"question": "My dog is ill."}


@contextlib.asynccontextmanager
async def over_stdio(command: list[str], environment: dict[str, str]) -> AsyncIterator[ClientSession]:
    parameters = StdioServerParameters(
        command=command[0], args=command[1:], env={**os.environ, **environment}
    )
    async with (
        stdio_client(parameters) as (messages, answers),
        ClientSession(messages, answers) as client,
    ):
        await client.initialize()
        yield client


@contextlib.asynccontextmanager
async def over_http(url: str, **headers: str) -> AsyncIterator[ClientSession]:
    async with (
        httpx.AsyncClient(headers=headers, timeout=60) as http,
        streamable_http_client(url, http_client=http) as (messages, answers, _),
        ClientSession(messages, answers) as client,
    ):
        await client.initialize()
        yield client


@contextlib.contextmanager
def running(store: Path, *options: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Runs the fake over HTTP on a free port; gives its URL once it answers."""
    command = [*FAKE, "--transport", "http", "--port", "0", "--store", str(store), *options]
    server = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        assert server.stderr is not None
        for line in server.stderr:
            if found := re.search(r"tools at (http\S+)", line):
                yield found[1].replace("0.0.0.0", "127.0.0.1"), server
                break
        else:
            pytest.fail("the server ended before it answered")
    finally:
        server.kill()
        server.wait()
        server.stderr.close()


async def test_the_default_model_over_stdio(tmp_path: Path) -> None:
    async with over_stdio(ICDPO, {"ICDPO_STORE": str(tmp_path / "store")}) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names == ["aligned_answer", "rank_answers", "search_demonstrations"]
        asked = {"question": "I lost my job. What now?", "n": 2, "max_tokens": 24, "seed": 5}
        first, again = [await client.call_tool("aligned_answer", asked) for _ in range(2)]
        assert not first.isError, first.content
        assert first.structuredContent == again.structuredContent
        assert first.structuredContent["answer"].strip()
        assert len(first.structuredContent["demonstration_ids"]) == 2
        drafts = ["That is hard. Would you like to talk it through?", "jdkf kd fjdk"]
        ranked = await client.call_tool("rank_answers", {"question": asked["question"], "answers": drafts})
        answers = ranked.structuredContent["answers"]
        assert sorted(drafts) == sorted(item["answer"] for item in answers)
        assert answers[0]["score"] >= answers[1]["score"]
        found = await client.call_tool("search_demonstrations", {"query": "losing a job", "k": 3})
        assert len(found.structuredContent["demonstrations"]) == 3


async def test_adding_over_stdio_is_kept(tmp_path: Path) -> None:
    command = [*FAKE, "--write", "--store", str(tmp_path / "store")]
    for added in (True, False):
        async with over_stdio(command, {}) as client:
            asked = {"question": "new {x}", "chosen": "good"}
            result = await client.call_tool("add_demonstration", asked)
            assert result.structuredContent["added"] is added, result.content
            found = await client.call_tool("search_demonstrations", {"query": "new {x}", "k": 1})
            assert found.structuredContent["demonstrations"][0]["question"] == "new {x}"


def test_nothing_but_the_protocol_reaches_standard_output(tmp_path: Path) -> None:
    hello = {
        "protocolVersion": "2025-03-26",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    messages: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "aligned_answer", "arguments": QUESTION}},
        {"id": 3, "method": "tools/call", "params": {"name": "rank_answers", "arguments": {}}},
    ]
    server = subprocess.Popen(
        [*FAKE, "--store", str(tmp_path / "store")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdin is not None
        assert server.stdout is not None
        for message in messages:
            server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        server.stdin.write("this is no JSON\n")
        server.stdin.flush()
        lines = []
        while not {1, 2, 3, "server-error"} <= {line.get("id") for line in lines}:
            lines.append(json.loads(server.stdout.readline()))
        rest, noise = server.communicate(timeout=60)
    finally:
        server.kill()
        server.wait()
    lines += map(json.loads, rest.splitlines())
    assert all(line["jsonrpc"] == "2.0" for line in lines)
    answers = {line["id"]: line["result"] for line in lines if "result" in line}
    assert answers[2]["structuredContent"]["answer"] == KIND
    assert answers[3]["isError"] is True
    for printed in ("loading", "a library prints", "so does one in C", "and a process"):
        assert printed in noise
    assert server.returncode == 0


async def test_several_clients_over_http_get_their_own(tmp_path: Path) -> None:
    with running(tmp_path / "store", "--write") as (url, _):

        async def ask(number: int) -> None:
            async with over_http(url) as client:
                answered = await client.call_tool("aligned_answer", QUESTION)
                assert answered.structuredContent["answer"] == KIND
                answers = [f"{number}.{i}" for i in range(4)]
                ranked = await client.call_tool("rank_answers", {**QUESTION, "answers": answers})
                given = sorted(item["answer"] for item in ranked.structuredContent["answers"])
                assert given == answers
                added = {"question": f"question {number}", "chosen": "good"}
                assert not (await client.call_tool("add_demonstration", added)).isError

        await ask(0)
        await asyncio.gather(*map(ask, range(1, 6)))
        async with over_http(url) as client:
            for number in range(6):
                query = {"query": f"question {number}", "k": 1}
                found = await client.call_tool("search_demonstrations", query)
                (hit,) = found.structuredContent["demonstrations"]
                assert hit["question"] == query["query"]


async def test_a_web_page_of_another_name_is_not_answered(tmp_path: Path) -> None:
    with running(tmp_path / "store") as (url, _):
        async with httpx.AsyncClient() as http:
            for headers, status in (
                ({"Host": "evil.example"}, 421),
                ({"Origin": "http://evil.example"}, 403),
            ):
                answer = await http.post(url, json={}, headers=headers)
                assert answer.status_code == status


async def test_a_large_body_is_refused_without_a_traceback(tmp_path: Path) -> None:
    with running(tmp_path / "store") as (url, server):
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        async with httpx.AsyncClient() as http:
            answer = await http.post(url, content=b" " * (5 << 20), headers=headers)
            assert answer.status_code == 413
        server.send_signal(signal.SIGTERM)
        assert "Traceback" not in server.stderr.read()  # type: ignore[union-attr]


async def test_other_addresses_demand_the_key(tmp_path: Path) -> None:
    key = "a-key-of-the-test"
    with running(tmp_path / "store", "--host", "0.0.0.0", ICDPO_API_KEY=key) as (url, server):
        async with httpx.AsyncClient() as http:
            for sent in ({}, {"Authorization": "Bearer another"}):
                answer = await http.post(url, json={}, headers=sent)
                assert answer.status_code == 401
                assert key not in answer.text
        async with over_http(url, Authorization=f"Bearer {key}") as client:
            assert (await client.call_tool("aligned_answer", QUESTION)).structuredContent["answer"] == KIND
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0


def test_sigterm_ends_standard_io_with_status_0(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [*FAKE, "--store", str(tmp_path / "store")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    hello = {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    try:
        assert server.stdin is not None
        assert server.stdout is not None
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
        server.stdin.write(json.dumps(message) + "\n")
        server.stdin.flush()
        assert json.loads(server.stdout.readline())["id"] == 1
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.wait()
