"""A headless Chromium, and the page on `FakePolicy`. See `make test-ui`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from icdpo_chains import DemonstrationStore, starter_demonstrations
from icdpo_chains.demonstrations.embedding import FakeEmbedder

from .server import PageServer

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: `make test-ui`")

NO_BROWSER = (
    "no Chromium: install Debian's (apt-get install chromium), or Playwright's own "
    "(.venv-ui/bin/playwright install chromium)"
)
SECONDS = 60
"""How long to wait for the page: a busy machine takes its time."""

OpenPage = Callable[..., "sync_api.Page"]


@pytest.fixture(scope="session")
def browser() -> Iterator[sync_api.Browser]:
    """Debian's Chromium, or Playwright's own."""
    sync_api.expect.set_options(timeout=SECONDS * 1000)
    with sync_api.sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        if found is None and not Path(playwright.chromium.executable_path).exists():
            pytest.fail(NO_BROWSER)
        # A sandbox needs another user than root. No name is resolved: a request to elsewhere also fails.
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        browser = playwright.chromium.launch(executable_path=found, args=[*sandbox, rules])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: sync_api.Browser) -> Iterator[OpenPage]:
    """Opens the page in a new window.

    At the end, no request may have left this machine, and nothing may have run or shown that a text brought in.
    """
    urls: list[str] = []
    dialogs: list[str] = []
    contexts = []

    def opened(url: str, **options: object) -> sync_api.Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(SECONDS * 1000)
        context.on("request", lambda request: urls.append(request.url))
        page = context.new_page()
        page.on("websocket", lambda socket: urls.append(socket.url))
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        page.goto(url)
        page.get_by_role("tab", name="Demonstrations").wait_for()
        return page

    yield opened
    for context in contexts:
        for page in context.pages:
            if not page.is_closed() and page.url.startswith("http"):
                assert page.evaluate("window.hacked") is None
                assert page.locator("#hacked, [src*='192.0.2.1'], a[href^='javascript']").count() == 0
        context.close()
    assert urls
    elsewhere = [url for url in urls if not url.startswith(("data:", "blob:"))]
    assert {urlsplit(url).hostname for url in elsewhere} == {"127.0.0.1"}, elsewhere
    assert dialogs == []


@pytest.fixture(scope="module")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Chroma directory."""
    path = tmp_path_factory.mktemp("page") / "store"
    DemonstrationStore(path, embedder=FakeEmbedder()).close()
    return path


@pytest.fixture(scope="module")
def running(store_path: Path) -> Iterator[PageServer]:
    """The page on `FakePolicy`, for all tests of a module."""
    server = PageServer.fake(store_path, store_path.parent / "server.log")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(running: PageServer, store_path: Path) -> Iterator[PageServer]:
    """The page, with the first twelve demonstrations of the starter set; no error may reach its log."""
    refill(store_path)
    before = len(running.output)
    yield running
    assert "Traceback" not in running.output[before:], running.output[before:]


def refill(path: Path) -> None:
    """Makes a store hold the first twelve demonstrations of the starter set, whatever it held."""
    with DemonstrationStore(path, embedder=FakeEmbedder()) as store:
        store.remove([*store.ids()])
        store.add(list(starter_demonstrations())[:12])
