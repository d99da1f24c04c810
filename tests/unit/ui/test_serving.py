"""Requests that no browser would send: they name files of the server's machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from icdpo_chains import ICDPO, DemonstrationStore, FakeEmbedder, FakePolicy, ICDPOConfig
from icdpo_chains.server import create_app

pytest.importorskip("gradio", reason="gradio is not installed: `make test-ui`")

ROW = {"prompt": "a secret", "chosen": "good", "rejected": "bad"}
API = "/gradio_api"


@pytest.fixture
def store() -> Iterator[DemonstrationStore]:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        yield store


@pytest.fixture
def client(store: DemonstrationStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> httpx.AsyncClient:
    from icdpo_chains.ui.serving import add_page

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    settings = ICDPOConfig()
    app = create_app(ICDPO.from_config(settings, policy=FakePolicy("an answer"), store=store))
    add_page(app, settings, store, path="/", api_key=None)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=60)


async def called(client: httpx.AsyncClient, name: str, data: list[Any]) -> str:
    """Calls a function of the page; returns all that the server answers."""
    config = (await client.get("/config")).json()
    number = next(each["id"] for each in config["dependencies"] if each["api_name"] == name)
    body = {"data": data, "fn_index": number, "session_hash": "here", "event_data": None, "trigger_id": None}
    (await client.post(f"{API}/queue/join", json=body)).raise_for_status()
    return (await client.get(f"{API}/queue/data", params={"session_hash": "here"})).text


@pytest.mark.parametrize("name", ["secret.jsonl", "secret.svg"])
@pytest.mark.parametrize("function", ["preview", "import_"])
async def test_no_file_of_the_machine_is_read(
    client: httpx.AsyncClient, store: DemonstrationStore, tmp_path: Path, function: str, name: str
) -> None:
    secret = tmp_path / name
    secret.write_text(json.dumps(ROW))
    file = {"path": str(secret), "orig_name": name, "meta": {"_type": "gradio.FileData"}}
    rest = [None] if function == "import_" else []
    async with client:
        assert "a secret" not in await called(client, function, [file, None, None, None, False, *rest])
        assert (await client.get(f"{API}/file={secret}")).status_code == 403
    assert len(store) == 0
    assert secret.exists()


async def test_an_uploaded_file_is_read(client: httpx.AsyncClient) -> None:
    async with client:
        sent = await client.post(f"{API}/upload", files={"files": ("../rows.jsonl", json.dumps(ROW))})
        file = {"path": sent.json()[0], "orig_name": "rows.jsonl", "meta": {"_type": "gradio.FileData"}}
        assert "a secret" in await called(client, "preview", [file, None, None, None, False])
