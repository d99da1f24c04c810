"""Tenants, databases, and tokens that a proxy asks for."""

from __future__ import annotations

import logging

import httpx
import pytest

from icdpo_chains import AddReport, Demonstration
from icdpo_chains.errors import StoreError, StoreUnavailableError
from tests.chroma_server import ChromaServer

from .conftest import Proxy

ROW = Demonstration("question", "good", "bad")


def make(server: ChromaServer, path: str, name: str) -> None:
    answer = httpx.post(f"http://127.0.0.1:{server.port}/api/v2/{path}", json={"name": name})
    assert answer.is_success, answer.text


def test_tenants_and_databases_are_apart(server: ChromaServer) -> None:
    places = [("red", "first"), ("red", "second"), ("blue", "first")]
    for tenant in ("red", "blue"):
        make(server, "tenants", tenant)
    for tenant, database in places:
        make(server, f"tenants/{tenant}/databases", database)
    stores = [server.connect("same", tenant=tenant, database=database) for tenant, database in places]
    try:
        for store, (tenant, database) in zip(stores, places, strict=True):
            assert store.add([Demonstration(f"{tenant} {database}", "good")]) == AddReport(added=1)
            assert f"tenant '{tenant}', database '{database}'" in repr(store)
        assert [[row.prompt for row in store] for store in stores] == [
            [f"{tenant} {database}"] for tenant, database in places
        ]
        stores[0].remove([row.id for row in stores[0]])
        assert [len(store) for store in stores] == [0, 1, 1]
    finally:
        for store in stores:
            store.close()


@pytest.mark.parametrize("missing", [{"tenant": "nobody's"}, {"database": "nowhere"}])
def test_what_is_missing_is_named(server: ChromaServer, missing: dict[str, str]) -> None:
    (name,) = missing.values()
    with pytest.raises(
        StoreError, match=rf"{name}.*no such tenant or database.*create it first.*another one"
    ):
        server.connect("any", **missing)


def test_the_token_opens_and_another_does_not(
    server: ChromaServer, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    reached = {"port": proxy.server_port}
    with server.connect("guarded", token=proxy.token, **reached) as store:
        assert store.add([ROW]) == AddReport(added=1)
        assert list(store) == [ROW]
        assert proxy.token not in repr(store)
        proxy.token = "another"  # it is taken away while the store is open
        with pytest.raises(StoreUnavailableError, match=r"refuses us .*right token=") as caught:
            list(store)
        assert "s3cret-token" not in str(caught.value)
    for wrong in ({"token": "wr0ng-token"}, {}):
        with pytest.raises(StoreUnavailableError, match=r"refuses us .*right token=") as caught:
            server.connect("guarded", **wrong, **reached)
        assert "wr0ng-token" not in str(caught.value)
    with server.connect("guarded", headers={"Authorization": "Bearer another"}, **reached) as store:
        assert list(store) == [ROW]
    assert "s3cret-token" not in caplog.text


def test_a_proxy_with_nobody_behind_it_is_asked_again(server: ChromaServer, proxy: Proxy) -> None:
    with server.connect("behind", port=proxy.server_port, token=proxy.token) as store:
        proxy.fails = [502, 503, 504, 502]
        assert store.add([ROW]) == AddReport(added=1)
        assert proxy.fails == []
        assert list(store) == [ROW]
        proxy.fails = [500]
        with pytest.raises(StoreError, match="nobody behind me"):
            list(store)
    with server.connect("behind", port=proxy.server_port, token=proxy.token, retry_for=0) as store:
        proxy.fails = [503]
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            list(store)
    proxy.fails = [503]
    with pytest.raises(StoreUnavailableError, match="is not reached"):
        server.connect("behind", port=proxy.server_port, token=proxy.token)
