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


@pytest.mark.parametrize("function", ["preview", "import_", "coded"])
async def test_no_url_is_fetched_in_place_of_a_file(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """Whatever component the URL is given for: Gradio looks for files in all inputs."""
    from gradio import processing_utils

    async def fetch(url: str, **_: object) -> str:
        fetched.append(url)
        raise OSError

    fetched: list[str] = []
    monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", fetch)
    url = "http://192.0.2.1/rows.jsonl"
    file = {"path": url, "url": url, "meta": {"_type": "gradio.FileData"}}
    inputs: dict[str, list[Any]] = {
        "preview": [file, None, None, None, False],
        "import_": [file, None, None, None, False, None],
        "coded": [file, None],
    }
    async with client:
        assert "reads only uploaded files" in await called(client, function, inputs[function])
        for path in (f"file={url}", f"file/{url}", f"proxy={url}", "file=https://192.0.2.1/x"):
            assert (await client.get(f"{API}/{path}")).status_code == 403
    assert fetched == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("queue/join", {"data": [], "fn_index": 9999, "session_hash": "here"}),
        ("queue/join", {"data": [], "fn_index": -1, "session_hash": "here"}),
        ("run/predict", {"data": [], "fn_index": 9999}),
        ("run/absent", {"data": []}),
        ("call/absent", {"data": []}),
        ("call/v2/absent", {}),
        ("component_server", {"session_hash": "here", "component_id": 9999, "fn_name": "x", "data": None}),
    ],
    ids=["unknown", "negative", "run", "run_name", "call", "call_v2", "component"],
)
async def test_what_the_page_does_not_have_is_404(
    client: httpx.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    async with client:
        response = await client.post(f"{API}/{path}", json=body)
    assert (response.status_code, response.json()["detail"]) == (
        404,
        "the page has nothing of this name: reload the page",
    )


async def test_an_uploaded_file_is_read(client: httpx.AsyncClient) -> None:
    async with client:
        sent = await client.post(f"{API}/upload", files={"files": ("../rows.jsonl", json.dumps(ROW))})
        file = {"path": sent.json()[0], "orig_name": "rows.jsonl", "meta": {"_type": "gradio.FileData"}}
        assert "a secret" in await called(client, "preview", [file, None, None, None, False])
