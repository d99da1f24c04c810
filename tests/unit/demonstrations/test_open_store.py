from pathlib import Path
from typing import Any

import pytest

from icdpo_chains import DemonstrationStore, FakeEmbedder
from icdpo_chains.demonstrations.open_store import create_if_absent, is_server, open_store
from icdpo_chains.errors import InvalidInputError


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stands in for the connection to a server; what it was asked for."""
    asked: list[dict[str, Any]] = []

    def connect(host: str, port: int, **options: Any) -> DemonstrationStore:
        asked.append({"host": host, "port": port, **options})
        return DemonstrationStore.ephemeral(embedder=options["embedder"])

    monkeypatch.setattr(DemonstrationStore, "connect", staticmethod(connect))
    monkeypatch.delenv("ICDPO_CHROMA_TOKEN", raising=False)
    return asked


def test_an_address_is_connected_to(connected: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = FakeEmbedder()
    open_store("http://127.0.0.1:8123", embedder=embedder).close()
    monkeypatch.setenv("ICDPO_CHROMA_TOKEN", "secret")
    open_store("HTTPS://chroma.example/team%20a/?tenant=t&database=d", embedder=embedder).close()
    assert connected == [
        {
            "host": "127.0.0.1",
            "port": 8123,
            "ssl": False,
            "token": None,
            "tenant": None,
            "database": None,
            "embedder": embedder,
            "collection": "demonstrations",
        },
        {
            "host": "chroma.example",
            "port": 443,
            "ssl": True,
            "token": "secret",
            "tenant": "t",
            "database": "d",
            "embedder": embedder,
            "collection": "team a",
        },
    ]


def test_the_environment_may_name_a_server(
    connected: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ICDPO_STORE", "http://[::1]")
    open_store(embedder=FakeEmbedder()).close()
    assert [(each["host"], each["port"]) for each in connected] == [("::1", 8000)]
    with open_store(tmp_path / "own", embedder=FakeEmbedder()) as store:  # a name goes before it
        assert store.path == tmp_path / "own"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://user:secret@host:8000", "ICDPO_CHROMA_TOKEN"),
        ("http://user:secret/9@host:8000", "ICDPO_CHROMA_TOKEN"),
        ("http://host:8000/a?token=secret", "ICDPO_CHROMA_TOKEN"),
        ("http://host:many", "can't be read"),
        ("http://host:99999", "can't be read"),
        ("http://[::1", "can't be read"),
        ("http://", "not the address"),
        ("http://host/a/b", "not the address"),
        ("http://host/a?tenat=b", "not the address"),
        ("http://host/a?tenant", "can't be read"),
    ],
)
def test_an_address_with_a_mistake_says_what_to_write(
    connected: list[dict[str, Any]], address: str, said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said) as error:
        open_store(address, embedder=FakeEmbedder())
    assert "secret" not in str(error.value)
    assert not connected


def test_what_is_a_server() -> None:
    assert is_server("https://host")
    assert not is_server(Path("http:/host"))
    assert not is_server("httpd/store")


@pytest.mark.parametrize("exists", [False, True], ids=["missing", "empty"])
def test_an_absent_store_is_created_once(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "new"
    if exists:
        path.mkdir()
    assert create_if_absent(str(path), embedder=FakeEmbedder())
    assert not create_if_absent(str(path), embedder=FakeEmbedder())
    with open_store(path, read_only=True, embedder=FakeEmbedder()) as store:
        assert len(store) == 0


def test_other_places_are_not_made_stores(tmp_path: Path) -> None:
    note = tmp_path / "full" / "note.txt"
    note.parent.mkdir()
    note.write_text("mine")
    for place in (None, "http://127.0.0.1:1/none", str(note), str(note.parent)):
        assert not create_if_absent(place, embedder=FakeEmbedder())
    assert [path.name for path in note.parent.iterdir()] == ["note.txt"]
