"""Who may ask."""

import pytest

from icdpo_chains.foundation.network import is_loopback
from icdpo_chains.server import ServerLimits, create_app
from tests.unit.fake_core import make_core
from tests.unit.server.client import QUESTION, make_client

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer sekre",
        "Bearer sekretX",
        "Basic sekret",
        "sekret",
        "Bearer sekr\u00e9t",
    ],
)
async def test_without_the_key_nothing_is_answered_but_health(given: str | None) -> None:
    headers = [] if given is None else [(b"authorization", given.encode("latin-1"))]
    async with make_client(key="sekret") as client:
        client.headers.pop("authorization")
        for method, path in (
            ("POST", CHAT),
            ("GET", "/v1/models"),
            ("GET", "/metrics"),
            ("GET", "/openapi.json"),
            ("GET", "/v1/demonstrations"),
            ("GET", "/nothing"),
        ):
            response = await client.request(method, path, headers=headers)
            assert response.status_code == 401, path
            assert response.json()["error"]["code"] == "invalid_api_key"
            assert response.headers["www-authenticate"] == "Bearer"
        assert (await client.get("/health", headers=headers)).status_code == 200


@pytest.mark.parametrize("key", ["sekret", "schl\u00fcssel \U0001f511".replace(" ", "-")])
async def test_with_the_key_all_is_answered(key: str) -> None:
    async with make_client(key="x") as client:
        client._transport.app = create_app(make_core(), api_key=key)  # type: ignore[attr-defined]
        for scheme in (b"Bearer ", b"bearer  "):
            headers = [(b"authorization", scheme + key.encode())]
            assert (await client.get("/v1/models", headers=headers)).status_code == 200


async def test_the_key_is_looked_at_before_the_body() -> None:
    async with make_client(key="sekret", limits=ServerLimits(max_body_bytes=10)) as client:
        client.headers["authorization"] = "Bearer wrong"
        assert (await client.post(CHAT, json={"messages": QUESTION})).status_code == 401


def test_a_blank_key_is_none() -> None:
    with pytest.raises(ValueError, match="blank"):
        create_app(make_core(), api_key=" \n")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::2]:1", "10.0.0.1"]
)
async def test_without_a_key_a_foreign_host_name_is_refused(host: str) -> None:
    async with make_client() as client:
        response = await client.get("/v1/models", headers={"Host": host})
        assert (response.status_code, response.json()["error"]["code"]) == (403, "host_not_allowed")
    async with make_client(key="k") as client:
        assert (await client.get("/v1/models", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]", "[::1]:8000", "127.0.0.2"]
)
async def test_loopback_hosts_are_answered(host: str) -> None:
    async with make_client() as client:
        assert (await client.get("/v1/models", headers={"Host": host})).status_code == 200


async def test_foreign_pages_are_not_given_leave() -> None:
    async with make_client() as client:
        asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
        response = await client.options(CHAT, headers=asked)
    assert response.status_code == 405
    assert not any(name.startswith("access-control") for name in response.headers)


@pytest.mark.parametrize(
    ("host", "own"), [("::1", True), ("0.0.0.0", False), ("::", False), ("example", False)]
)
def test_what_counts_as_loopback(host: str, own: bool) -> None:
    assert is_loopback(host) == own
