"""`icdpo mcp`: what is built from its options; real clients are in tests/scale/mcp."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.memory import create_connected_server_and_client_session

from icdpo_chains.mcp import transports

KIND = "I am sorry. Shall we talk?"


def answer(server: Any) -> Any:
    async def run() -> Any:
        async with create_connected_server_and_client_session(server) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            result = await client.call_tool("aligned_answer", {"question": "My dog is ill."})
            return tools, result.structuredContent or result.content[0].text

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What was served instead of being served."""
    seen: dict[str, Any] = {}

    def run_stdio(server: Any, output: Any) -> None:
        seen.update(answer=answer(server), output=output)

    def run_http(server: Any, bound: socket.socket, *, api_key: str | None, on_ready: Any) -> None:
        seen.update(answer=answer(server), address=bound.getsockname(), key=api_key)
        if not seen.get("ends early"):
            on_ready()

    monkeypatch.delenv("ICDPO_API_KEY", raising=False)
    monkeypatch.setattr(transports, "run_stdio", run_stdio)
    monkeypatch.setattr(transports, "run_http", run_http)
    return seen


def test_stdio_is_the_default_and_reads_only(icdpo: Any, served: dict[str, Any]) -> None:
    run = icdpo("mcp", "--n", "2")
    assert (run.exit_code, run.stdout) == (0, "")
    tools, result = served["answer"]
    assert tools == ["aligned_answer", "rank_answers", "search_demonstrations"]
    assert (result["answer"], len(result["scores"])) == (KIND, 2)


def test_options_reach_the_server(icdpo: Any, served: dict[str, Any], fakes: list[dict[str, Any]]) -> None:
    icdpo("mcp", "--write", "-n", "4", "-k", "1", "--model", "org/name", "--max-tokens", "9")
    tools, result = served["answer"]
    assert "add_demonstration" in tools
    assert (len(result["scores"]), len(result["demonstration_ids"])) == (4, 1)
    assert len(result["answer"]) <= 9
    assert fakes == [{"model": "org/name", "dtype": None, "device": None}]


def test_a_model_that_does_not_load_leaves_the_tools(
    icdpo: Any, served: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, on_progress: Any = None) -> str:
        raise OSError("no network")

    monkeypatch.setattr("icdpo_chains.packaged_models.catalog.resolve", fail)
    run = icdpo("mcp")
    assert run.exit_code == 0
    assert "no network (fix this, then start the server again)" in run.stderr
    tools, says = served["answer"]
    assert len(tools) == 3
    assert "failed inside the server" in says


def test_http_listens_on_loopback(icdpo: Any, served: dict[str, Any]) -> None:
    run = icdpo("mcp", "--transport", "http", "--port", "0")
    assert run.exit_code == 0, run.stderr
    host, port = served["address"]
    assert (host, served["key"]) == ("127.0.0.1", None)
    assert f"tools at http://127.0.0.1:{port}/mcp" in run.stderr


def test_the_address_is_named_only_when_clients_can_connect(icdpo: Any, served: dict[str, Any]) -> None:
    served["ends early"] = True
    run = icdpo("mcp", "--transport", "http", "--port", "0")
    assert run.exit_code == 0, run.stderr
    assert "tools at" not in run.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "chroma.example"])
def test_other_addresses_need_a_key(icdpo: Any, served: dict[str, Any], host: str) -> None:
    run = icdpo("mcp", "--transport", "http", "--host", host)
    assert run.exit_code == 2
    assert "needs a key" in " ".join(run.stderr.replace("│", " ").split())
    assert served == {}


def test_the_key_comes_from_a_file_or_the_environment(
    icdpo: Any, served: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = ("mcp", "--transport", "http", "--port", "0", "--host", "0.0.0.0")
    monkeypatch.setenv("ICDPO_API_KEY", "from-environment")
    assert icdpo(*started).exit_code == 0
    assert served["key"] == "from-environment"
    (tmp_path / "key").write_text("from-file\n")
    assert icdpo(*started, "--api-key-file", str(tmp_path / "key")).exit_code == 0
    assert served["key"] == "from-file"


def test_an_address_that_is_taken(icdpo: Any, fakes: list[dict[str, Any]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = icdpo("mcp", "--transport", "http", "--port", str(taken.getsockname()[1]))
    assert run.exit_code == 1
    assert "in use" in run.stderr
    assert fakes == []


@pytest.mark.parametrize("options", [["--n", "0"], ["--transport", "carrier-pigeon"], ["--port", "70000"]])
def test_wrong_options(icdpo: Any, options: list[str]) -> None:
    assert icdpo("mcp", *options).exit_code == 2
