"""The key of a server: one, from a file or the environment, and demanded where others can reach it."""

from pathlib import Path

import pytest
import typer

from icdpo_chains.cli.api_key import read_api_key
from icdpo_chains.errors import InvalidInputError


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ICDPO_API_KEY", raising=False)


def test_the_file_goes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICDPO_API_KEY", "from-environment")
    (tmp_path / "key").write_text("from-file\n")
    assert read_api_key(None, "0.0.0.0") == "from-environment"
    assert read_api_key(tmp_path / "key", "0.0.0.0") == "from-file"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost", "LOCALHOST"])
def test_on_loopback_no_key_is_needed(host: str) -> None:
    assert read_api_key(None, host) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "localhost.example", "", "example.org"])
def test_elsewhere_it_is(host: str) -> None:
    with pytest.raises(typer.BadParameter, match="--api-key-file FILE, or set ICDPO_API_KEY"):
        read_api_key(None, host)


@pytest.mark.parametrize("content", [b"", b" \n", b"two keys", b"\xff\xfe", "schl\u00fcssel".encode()])
def test_a_file_that_holds_no_key(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"key.*(must contain one API key|must contain ASCII)"):
        read_api_key(tmp_path / "key", "127.0.0.1")


def test_a_blank_variable_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICDPO_API_KEY", " ")
    with pytest.raises(InvalidInputError, match="ICDPO_API_KEY must contain one API key"):
        read_api_key(None, "127.0.0.1")
