"""`/` and what is not there."""

from __future__ import annotations

import icdpo_chains

from ..client import make_client


async def test_the_root_says_what_the_server_is() -> None:
    async with make_client() as client:
        body = (await client.get("/")).json()
    assert (body["name"], body["version"]) == ("icdpo-chains", icdpo_chains.__version__)
    assert {"/v1/chat/completions", "/health", "/openapi.json"} <= set(body["endpoints"])


async def test_an_unknown_path_names_the_endpoints() -> None:
    async with make_client() as client:
        for path in ("/docs", "/v2/chat/completions", "/v1"):
            answer = await client.get(path)
            assert answer.status_code == 404
            assert "/v1/chat/completions" in answer.json()["error"]["message"]


async def test_with_a_key_the_root_demands_it() -> None:
    async with make_client(key="k") as client:
        assert (await client.get("/", headers={"Authorization": ""})).status_code == 401
