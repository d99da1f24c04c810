"""The tab Demonstrations in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import refill
from .fake_page import HOSTILE
from .server import PageServer

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from .conftest import OpenPage

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: `make test-ui`")

from playwright.sync_api import expect  # after the check that it is installed

VISIBLE = HOSTILE.replace("\u202e", "\\u202e")
"""How the page shows the hostile text where it is not edited."""


@pytest.fixture
def page(server: PageServer, open_page: OpenPage) -> Page:
    page = open_page(server.url)
    show_tab(page)
    return page


def show_tab(page: Page) -> None:
    page.get_by_role("tab", name="Demonstrations").click()
    expect(value(page, "caption")).to_have_value("12 demonstrations; page 1 of 2")


def value(page: Page, name: str) -> Locator:
    return page.locator(f"#demonstrations-{name}").locator("textarea, input").first


def text(page: Page, name: str) -> Locator:
    return page.locator(f"#demonstration-{name} textarea")


def having(part: str) -> re.Pattern[str]:
    return re.compile(re.escape(part))


def rows(page: Page) -> Locator:
    return page.locator("#demonstrations-list label")


def add(page: Page, prompt: str, chosen: str, rejected: str = "") -> None:
    for name, given in (("prompt", prompt), ("chosen", chosen), ("rejected", rejected)):
        text(page, name).fill(given)
    page.get_by_role("button", name="Save").click()
    expect(value(page, "status")).to_have_value("Added.")


def test_pages_and_search(page: Page) -> None:
    expect(rows(page)).to_have_count(8)
    page.get_by_role("button", name="Next").click()
    expect(rows(page)).to_have_count(4)
    expect(page.get_by_role("button", name="Next")).to_be_disabled()
    question = "Can you explain inflation so that a twelve-year-old gets it?"
    value(page, "query").fill(question)
    value(page, "query").press("Enter")
    expect(rows(page).first).to_contain_text(question)
    expect(rows(page).first).to_contain_text("similarity 1.00")
    expect(value(page, "caption")).to_have_value("The 12 nearest of 12 demonstrations; page 1 of 2")


def test_add_edit_remove_and_undo(page: Page) -> None:
    add(page, "How long does an egg boil?", "Eight minutes.")
    expect(value(page, "caption")).to_have_value("13 demonstrations; page 1 of 2")
    text(page, "chosen").fill("Nine minutes.")
    page.get_by_role("button", name="Save").click()
    expect(value(page, "status")).to_have_value("Saved.")
    page.get_by_role("button", name="Remove").click()
    expect(value(page, "status")).to_have_value("Removed: “How long does an egg boil?”")
    expect(text(page, "chosen")).to_have_value("")
    undo = page.locator("#demonstrations-undo")
    for what, count in (("removal", 13), ("edit", 13), ("addition", 12)):
        expect(undo).to_contain_text(f"Undo the {what}")
        undo.click()
        expect(value(page, "status")).to_have_value(f"Undone: {what} of “How long does an egg boil?”")
        expect(value(page, "caption")).to_have_value(f"{count} demonstrations; page 1 of 2")
    expect(undo).to_be_disabled()


def test_a_selected_demonstration_is_in_the_form_and_errors_lose_nothing(page: Page) -> None:
    rows(page).nth(1).click()
    expect(text(page, "prompt")).to_have_value("Can you explain inflation so that a twelve-year-old gets it?")
    text(page, "chosen").fill(" ")
    text(page, "rejected").fill("")
    page.get_by_role("button", name="Save").click()
    expect(value(page, "status")).to_have_value(
        "there is neither a chosen nor a rejected answer: give one of them, or both"
    )
    expect(text(page, "prompt")).to_have_value("Can you explain inflation so that a twelve-year-old gets it?")
    expect(value(page, "caption")).to_have_value("12 demonstrations; page 1 of 2")


def upload(page: Page, path: Path) -> None:
    page.locator("#import-file input[type=file]").set_input_files(path)


def open_import(page: Page) -> Locator:
    page.get_by_role("button", name="Import a file").click()
    return page.locator("#import-outcome textarea")


def test_an_import_is_previewed_done_and_undone(page: Page, tmp_path: Path) -> None:
    outcome = open_import(page)
    path = tmp_path / "rows.csv"
    path.write_text("q,fine,poor\nHow long does an egg boil?,Eight minutes.,Boil it!\nHi?,Hello.,\n")
    upload(page, path)
    expect(outcome).to_have_value(having("the columns"))
    expect(page.locator("#import")).to_be_disabled()
    columns = page.get_by_label("Columns")
    columns.fill("prompt=q,chosen=fine,rejected=poor")
    expect(outcome).to_have_value(having("rows.csv: 1 pair, 1 lone chosen answer,"))
    expect(outcome).to_have_value(having("chosen: Eight minutes."))
    expect(value(page, "caption")).to_have_value("12 demonstrations; page 1 of 2")
    page.locator("#import").click()
    expect(outcome).to_have_value(having("2 read, 2 added"))
    expect(value(page, "caption")).to_have_value("14 demonstrations; page 1 of 2")
    page.locator("#demonstrations-undo").click()
    expect(value(page, "status")).to_have_value("Undone: import of rows.csv")
    expect(value(page, "caption")).to_have_value("12 demonstrations; page 1 of 2")


def test_statistics(page: Page) -> None:
    page.get_by_role("button", name="Statistics").click()
    page.get_by_role("button", name="Count").click()
    expect(value(page, "statistics")).to_have_value(having("12 pairs, 0 lone chosen answers"))


def test_hostile_texts_are_shown_as_they_are(page: Page, tmp_path: Path) -> None:
    add(page, f"hostile {HOSTILE}", HOSTILE, f"no {HOSTILE}")
    expect(text(page, "chosen")).to_have_value(HOSTILE)
    expect(page.locator("#demonstrations-undo")).to_contain_text("“hostile <script>window.hacked = 1</scri…”")
    value(page, "query").fill(f"hostile {HOSTILE}")
    value(page, "query").press("Enter")
    expect(rows(page).first).to_contain_text("hostile <script>window.hacked = 1</script><img src=")
    expect(rows(page).first).to_contain_text("✗ no <script>")
    outcome = open_import(page)
    name = "<img src=x onerror=alert(1)> ![x](http:).jsonl".replace("/", "")
    path = tmp_path / name
    path.write_text(json.dumps({"prompt": HOSTILE, "chosen": HOSTILE, "rejected": "no"}) + "\n")
    upload(page, path)
    shown = " ".join(VISIBLE.split())
    expect(outcome).to_have_value(having(shown[:250]))
    page.locator("#import").click()
    expect(outcome).to_have_value(having("1 read, 1 added"))
    path.write_text(json.dumps({HOSTILE: 1}) + "\n")
    upload(page, path)
    expect(outcome).to_have_value(having("<script>"))
    text(page, "prompt").fill("")
    page.get_by_role("button", name="Save").click()
    expect(value(page, "status")).to_have_value(having("blank"))


def test_two_windows_do_not_mix(page: Page, server: PageServer, open_page: OpenPage) -> None:
    other = open_page(server.url)
    show_tab(other)
    rows(page).nth(0).click()
    rows(other).nth(1).click()
    theirs = text(other, "prompt")
    expect(theirs).to_have_value("Can you explain inflation so that a twelve-year-old gets it?")
    text(page, "chosen").fill("Cold water.")
    page.get_by_role("button", name="Save").click()
    expect(value(page, "status")).to_have_value("Saved.")
    expect(theirs).to_have_value("Can you explain inflation so that a twelve-year-old gets it?")
    expect(other.locator("#demonstrations-undo")).to_be_disabled()
    # The list of the other window is as old as its last look: what is gone there is said, not overwritten.
    rows(other).nth(0).click()
    expect(value(other, "status")).to_have_value(having("no longer in the store"))
    expect(theirs).to_have_value("Can you explain inflation so that a twelve-year-old gets it?")


def test_a_form_is_emptied_for_a_new_demonstration(page: Page) -> None:
    rows(page).nth(1).click()
    expect(text(page, "prompt")).not_to_have_value("")
    page.get_by_role("button", name="New", exact=True).click()
    expect(text(page, "prompt")).to_have_value("")
    expect(page.get_by_role("button", name="Remove", exact=True)).to_be_disabled()
    add(page, "How long does an egg boil?", "Eight minutes.")
    expect(value(page, "caption")).to_have_value("13 demonstrations; page 1 of 2")


def test_a_server_that_starts_again_is_used_again(
    store_path: Path, tmp_path: Path, open_page: OpenPage
) -> None:
    refill(store_path)
    server = PageServer.fake(store_path, tmp_path / "server.log")
    try:
        server.start()
        page = open_page(server.url)
        show_tab(page)
        server.kill()
        rows(page).nth(1).click()
        expect(page.get_by_text(re.compile("connection", re.IGNORECASE)).first).to_be_visible()
        server.start()
        # The page comes back by itself, with the tab that it begins with.
        expect(page.get_by_role("tab", name="Chat", selected=True)).to_be_visible()
        show_tab(page)
        rows(page).nth(1).click()
        expect(text(page, "prompt")).not_to_have_value("")
    finally:
        server.kill()
