"""The door of the page."""

import base64

import httpx
import pytest
from starlette.responses import PlainTextResponse

from icdpo_chains.ui.access import OwnOrigin, PageAccess


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (None, 401),
        (basic("", "kéy"), 200),
        (basic("anybody", "kéy"), 200),
        (basic("kéy", ""), 401),
        (basic("", "key"), 401),
        (basic("", "kéy "), 401),
        ("Basic kéy", 401),
        ("Basic " + base64.b64encode("kéy".encode()).decode(), 401),
        ("Basic", 401),
        ("Bearer kéy", 200),
        ("Bearer other", 401),
    ],
    ids=[
        "none",
        "any_user",
        "some_user",
        "swapped",
        "wrong",
        "longer",
        "raw",
        "colonless",
        "bare",
        "bearer",
        "wrong_bearer",
    ],
)
async def test_the_key_opens_the_page(given: str | None, status: int) -> None:
    page = PageAccess(PlainTextResponse("page"), "kéy")
    headers = {} if given is None else {"Authorization": given.encode()}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(page), base_url="http://x") as client:
        response = await client.get("/", headers=headers)
    assert response.status_code == status
    assert ("www-authenticate" in response.headers) == (status == 401)


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {"Sec-Fetch-Site": "cross-site"}, 200),
        ("POST", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("POST", {"Origin": "http://x"}, 200),
        ("POST", {}, 200),
        ("POST", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", {"Origin": "http://evil"}, 403),
        ("DELETE", {"Origin": "null"}, 403),
    ],
    ids=["link", "own", "own_origin", "program", "foreign", "foreign_origin", "sandboxed"],
)
async def test_pages_of_other_origins_change_nothing(
    method: str, headers: dict[str, str], status: int
) -> None:
    page = OwnOrigin(PlainTextResponse("page"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(page), base_url="http://x") as client:
        response = await client.request(method, "/", headers=headers)
    assert response.status_code == status


async def test_the_browser_loads_nothing_from_elsewhere() -> None:
    page = OwnOrigin(PlainTextResponse("page"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(page), base_url="http://x") as client:
        policy = (await client.get("/")).headers["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    assert not any(source in policy for source in ("http", "*"))
