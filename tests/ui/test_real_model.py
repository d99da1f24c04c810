"""The page of `icdpo ui`, as a person starts it, on the default model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from icdpo_chains import DemonstrationStore, starter_demonstrations

from .server import PageServer

if TYPE_CHECKING:
    from .conftest import OpenPage

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: `make test-ui`")

from playwright.sync_api import expect  # after the check that it is installed

QUESTION = "How long should I boil an egg?"
BETTER = "Eight minutes in boiling water, then into cold water."


def test_ask_teach_and_ask_again(tmp_path: Path, open_page: OpenPage) -> None:
    store = tmp_path / "store"
    with DemonstrationStore(store) as opened:
        opened.add(list(starter_demonstrations())[:12])
    server = PageServer.real(store, tmp_path / "server.log", "--n", "3", "--max-tokens", "24")
    try:
        server.start()
        page = open_page(server.url)
        page.locator("#question textarea").fill(QUESTION)
        page.locator("#ask").click()
        expect(page.locator("#status")).to_contain_text("tokens read", timeout=300_000)
        expect(page.locator("#candidates li")).to_have_count(3)
        assert page.locator("#candidates .icdpo-token").count() > 5
        page.get_by_role("tab", name="Teach").click()
        expect(page.locator("#better textarea")).not_to_have_value("")  # filled with the answer
        page.locator("#better textarea").fill(BETTER)
        page.locator("#save").click()
        expect(page.locator("#undo")).to_be_enabled()
        page.locator("#ask-again").click()
        expect(page.locator("#difference")).to_contain_text("New demonstrations", timeout=300_000)
        expect(page.locator("#difference")).to_contain_text(BETTER)
        assert "Traceback" not in server.output
    finally:
        server.kill()
    with DemonstrationStore(store) as opened:
        (found, similarity), *_ = opened.search(QUESTION, 1)
    assert (found.prompt, found.chosen) == (QUESTION, BETTER)
    assert similarity > 0.99
