"""`icdpo serve`, up to where it would listen."""

import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from icdpo_chains.cli.app import app
from icdpo_chains.errors import ICDPOError
from icdpo_chains.server import server_extra


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, access_logger: logging.Logger) -> Any:
    """Runs the command; `.served` holds the applications that would have been served."""
    served: list[Any] = []
    monkeypatch.setattr(
        "icdpo_chains.server.uvicorn_server.serve",
        lambda app, bound, on_ready: (served.append(app), on_ready()),
    )
    monkeypatch.delenv("ICDPO_API_KEY", raising=False)

    def invoke(*arguments: str) -> Any:
        result: Any = CliRunner().invoke(app, ["serve", *arguments])
        result.served = served
        return result

    return invoke


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody has."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_it_serves_and_says_where(run: Any) -> None:
    result = run("--port", "0", "--n", "3", "--max-tokens", "9", "--model-name", "kind", "--max-waiting", "5")
    assert result.exit_code == 0, result.output
    (app,) = result.served
    service = app.state.service
    assert (service.icdpo.n, service.icdpo.sampling.max_new_tokens) == (3, 9)
    assert (service.model_name, service.limits.max_waiting, service.store) == ("kind", 5, None)
    assert result.stdout == ""
    assert result.stderr.startswith("icdpo: kind answers at http://127.0.0.1:")
    assert not result.stderr.rstrip().endswith(":0/v1")


def test_the_limits_reach_the_application(run: Any) -> None:
    limits = [
        "--max-body-bytes",
        "5",
        "--max-candidates",
        "9",
        "--max-demonstrations",
        "12",
        "--max-characters",
        "3000",
        "--max-tokens-limit",
        "200",
        "--request-timeout",
        "1.5",
    ]
    limits_of = run("--port", "0", *limits).served[0].state.service.limits
    assert (limits_of.max_body_bytes, limits_of.max_candidates) == (5, 9)
    assert (limits_of.max_demonstrations, limits_of.max_characters) == (12, 3000)
    assert (limits_of.max_tokens, limits_of.request_timeout) == (200, 1.5)


def test_demonstrations_are_opened_for_writing(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def looked_at(app: Any, bound: Any, on_ready: Any) -> None:
        store = app.state.service.store
        assert store.embedder is app.state.service.icdpo.retriever.store.embedder, "it is loaded twice"
        seen.append(store.remove(next(iter(store.ids()))))

    monkeypatch.setattr("icdpo_chains.server.uvicorn_server.serve", looked_at)
    assert run("--port", "0", "--demonstrations").exit_code == 0
    assert seen == [1]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example"])
def test_another_address_than_loopback_needs_a_key(run: Any, fakes: list[Any], host: str) -> None:
    result = run("--host", host, "--port", "0")
    assert result.exit_code == 2
    assert "--api-key-file" in result.stderr
    assert fakes == []


def test_a_key_from_a_file_or_the_environment(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text("sekret\n")
    assert run("--host", "0.0.0.0", "--port", "0", "--api-key-file", str(file)).exit_code == 0
    monkeypatch.setenv("ICDPO_API_KEY", "sekret")
    result = run("--host", "0.0.0.0", "--port", "0")
    assert result.exit_code == 0
    assert "sekret" not in result.output


@pytest.mark.parametrize("content", [b"", b" \n", b"two keys", b"\xff\xfe"])
def test_a_file_that_holds_no_key(run: Any, fakes: list[Any], tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    result = run("--port", "0", "--api-key-file", str(tmp_path / "key"))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert fakes == []
    assert run("--api-key-file", str(tmp_path / "none")).exit_code == 1


def test_an_empty_key_in_the_environment_is_no_permission(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICDPO_API_KEY", "")
    assert run("--port", "0").exit_code == 1


def test_a_port_in_use_is_one_line_before_anything_is_loaded(run: Any, fakes: list[Any], taken: int) -> None:
    result = run("--port", str(taken))
    assert result.exit_code == 1
    assert result.stderr == (
        f"icdpo: the server can't listen at 127.0.0.1 port {taken}: it is in use. Choose another by --host and "
        "--port\n"
    )
    assert fakes == []


@pytest.mark.parametrize(
    "options",
    [
        ["--max-waiting", "0"],
        ["--request-timeout", "nan"],
        ["--port", "-1"],
        ["--n", "0"],
        ["--n", "64"],
        ["--max-tokens", "2000"],
    ],
)
def test_a_wrong_option_is_a_usage_error(run: Any, options: list[str]) -> None:
    result = run("--port", "0", *options)
    assert result.exit_code == 2
    assert result.served == []


def test_a_missing_extra_says_what_to_install() -> None:
    with pytest.raises(ICDPOError, match=r"icdpo-chains\[serve\]"), server_extra():
        raise ModuleNotFoundError("no fastapi", name="fastapi")
    with pytest.raises(ModuleNotFoundError), server_extra():
        raise ModuleNotFoundError("something else", name="other")


def test_importing_the_package_loads_no_server() -> None:
    import subprocess
    import sys

    code = "import sys, icdpo_chains.server, icdpo_chains.cli.commands.serve; print('fastapi' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
