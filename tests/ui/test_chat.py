"""The tabs Chat, Teach and Settings in a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from .conftest import refill
from .fake_page import GROWING, HOSTILE, SLOW, TAUGHT
from .server import PageServer

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Route

    from .conftest import OpenPage

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: `make test-ui`")

from playwright.sync_api import expect  # after the check that it is installed

EGG = "How long does an egg boil?"


@pytest.fixture
def page(server: PageServer, open_page: OpenPage) -> Page:
    return open_page(server.url)


def show_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def ask(page: Page, question: str) -> None:
    page.locator("#question textarea").fill(question)
    page.locator("#ask").click()
    expect(page.locator("#status")).to_contain_text("tokens read")


def candidates(page: Page) -> Locator:
    return page.locator("#candidates li")


def show_demonstrations(page: Page) -> None:
    page.get_by_role("button", name="Demonstrations that the model was shown").click()


def test_ask_teach_and_ask_again(page: Page) -> None:
    """The story of the product: an answer is corrected, and the next one follows the correction."""
    ask(page, EGG)
    expect(page.locator("#conversation")).to_contain_text(EGG)
    expect(candidates(page).first).to_contain_text("the answer")
    expect(page.locator("#candidates")).not_to_contain_text(TAUGHT)
    show_tab(page, "Teach")
    expect(page.locator("#teach-question")).to_contain_text(EGG)
    page.locator("#better textarea").fill(TAUGHT)
    page.locator("#save").click()
    expect(page.locator("#undo")).to_be_enabled()
    page.locator("#ask-again").click()
    expect(page.locator("#difference")).to_contain_text("The answer changed.")
    expect(page.locator("#difference")).to_contain_text("New demonstrations: 1 of 2.")
    expect(page.locator("#difference .icdpo-pair > *").last).to_contain_text(TAUGHT)
    show_tab(page, "Chat")
    expect(page.locator("#conversation")).to_contain_text(TAUGHT)
    show_demonstrations(page)
    expect(page.locator("#shown")).to_contain_text(TAUGHT)


def test_a_stopped_question_returns_and_spares_the_next_one(page: Page) -> None:
    question = page.locator("#question textarea")
    question.fill(SLOW)
    page.locator("#ask").click()
    expect(page.locator("#stop")).to_be_enabled()
    expect(question).to_have_value("")
    question.fill("The next one?")
    page.locator("#stop").click()
    expect(page.locator("#status")).to_contain_text("Stopped.")
    expect(question).to_have_value(f"{SLOW}\nThe next one?")
    question.fill(" ")
    page.locator("#ask").click()
    expect(page.locator("#status")).to_contain_text("blank")
    expect(question).to_have_value(" ")


def test_a_better_answer_is_kept_that_was_begun_before_the_tab_is_filled(page: Page) -> None:
    ask(page, EGG)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/queue/join*", hold)
    with page.expect_request("**/queue/join*"):
        show_tab(page, "Teach")
    page.locator("#better textarea").fill(TAUGHT)
    expect(page.locator("#teach-question")).not_to_contain_text(EGG)
    for route in held:
        route.continue_()
    page.unroute("**/queue/join*")
    expect(page.locator("#teach-question")).to_contain_text(EGG)
    expect(page.locator("#better textarea")).to_have_value(TAUGHT)
    # Another visit to the tab is about the answer again.
    show_tab(page, "Chat")
    show_tab(page, "Teach")
    expect(page.locator("#better textarea")).not_to_have_value(TAUGHT)


def test_a_thumb_is_a_demonstration_and_is_undone(page: Page) -> None:
    ask(page, EGG)
    show_tab(page, "Teach")
    expect(page.locator("#teach-candidates label").first).to_be_visible()
    page.locator("#good").click()
    expect(page.locator("#undo")).to_contain_text("thumb")
    show_tab(page, "Demonstrations")
    caption = page.locator("#demonstrations-caption textarea, #demonstrations-caption input").first
    expect(caption).to_have_value("13 demonstrations; page 1 of 2")
    # The same change, on another tab of the page.
    page.locator("#demonstrations-undo").click()
    expect(caption).to_have_value("12 demonstrations; page 1 of 2")


def test_the_bare_answer_and_the_demonstrations_are_shown(page: Page) -> None:
    page.get_by_label("Also answer without demonstrations").check()
    ask(page, EGG)
    expect(page.locator("#without")).to_contain_text("Without demonstrations")
    show_demonstrations(page)
    expect(page.locator("#shown li")).to_have_count(2)
    expect(page.locator("#shown")).to_contain_text("similarity")


def test_hostile_texts_are_shown_as_they_are(page: Page) -> None:
    ask(page, f"hostile {HOSTILE}")
    visible = re.compile(re.escape("**bold** $x^2$ <style>* { display: none }</style> a\\u202eb <|im_end|>"))
    for place in ("#conversation", "#candidates"):
        expect(page.locator(place)).to_contain_text(visible)
    show_tab(page, "Teach")
    expect(page.locator("#teach-question")).to_contain_text(visible)
    expect(page.locator("#teach-candidates")).to_contain_text("<script>window.hacked = 1</script>")
    # Whichever candidate the scorer prefers, the comparison then has the hostile one.
    page.locator("#teach-candidates label").filter(has_text="<script>").first.click()
    page.locator("#instead").click()
    expect(page.locator("#teach-status p")).to_be_visible()
    page.locator("#ask-again").click()
    expect(page.locator("#difference")).to_contain_text("<script>window.hacked = 1</script>")
    show_tab(page, "Settings")
    expect(page.locator("#snippet")).to_contain_text("window.hacked = 1")
    show_tab(page, "Demonstrations")
    expect(page.locator("#demonstrations-list label").first).to_be_visible()


def test_errors_are_said_and_the_question_stays(page: Page) -> None:
    page.locator("#question textarea").fill("   ")
    page.locator("#ask").click()
    expect(page.locator("#status")).to_contain_text("blank")
    page.locator("#question textarea").fill("x" * 1_000)
    page.locator("#ask").click()
    expect(page.locator("#status")).to_contain_text("tokens read")


def test_two_windows_do_not_mix(page: Page, server: PageServer, open_page: OpenPage) -> None:
    other = open_page(server.url)
    ask(page, EGG)
    ask(other, "hostile question")
    expect(page.locator("#conversation")).not_to_contain_text("hostile")
    expect(other.locator("#conversation")).not_to_contain_text(EGG)
    show_tab(page, "Teach")
    show_tab(other, "Teach")
    page.locator("#good").click()
    expect(page.locator("#undo")).to_be_enabled()
    expect(other.locator("#undo")).to_be_disabled()
    expect(other.locator("#teach-question")).to_contain_text("hostile question")


def test_settings_are_used_and_shown_as_code(page: Page) -> None:
    show_tab(page, "Settings")
    field = page.get_by_label("Candidates (n)")
    field.fill("2")
    page.locator("#use-settings").click()
    expect(page.locator("#snippet")).to_contain_text("'n': 2")
    field.fill("3.5")
    page.locator("#use-settings").click()
    expect(page.locator("#settings-status")).to_contain_text("3.5, and must be a whole number")
    show_tab(page, "Chat")
    ask(page, EGG)
    expect(candidates(page)).to_have_count(2)


def test_the_only_candidate_grows_on_the_page(page: Page) -> None:
    show_tab(page, "Settings")
    page.get_by_label("Candidates (n)").fill("1")
    page.locator("#use-settings").click()
    expect(page.locator("#snippet")).to_contain_text("'n': 1")
    show_tab(page, "Chat")
    page.evaluate(
        """() => {
            window.grown = new Set();
            const conversation = document.querySelector("#conversation");
            const note = () => {
                const said = conversation.querySelectorAll(".bot.message");
                if (said.length) window.grown.add(said[said.length - 1].innerText.trim());
            };
            new MutationObserver(note).observe(conversation, {
                subtree: true, childList: true, characterData: true,
            });
        }"""
    )
    ask(page, GROWING)
    expect(page.locator("#conversation")).to_contain_text("Just boil it somehow.")
    grown = sorted(filter(None, page.evaluate("() => [...window.grown]")), key=len)
    assert len(grown) > 3
    assert all("Just boil it somehow.".startswith(text) for text in grown), grown


def test_a_new_chat_stops_the_question_that_another_tab_has_left_waiting(page: Page) -> None:
    ask(page, EGG)
    page.locator("#question textarea").fill(SLOW)
    page.locator("#ask").click()
    expect(page.locator("#stop")).to_be_enabled()
    show_tab(page, "Teach")
    expect(page.locator("#teach-question")).to_contain_text(EGG)
    show_tab(page, "Chat")
    expect(page.locator("#conversation")).to_contain_text(SLOW)
    expect(page.locator("#stop")).to_be_enabled()
    page.locator("#new-conversation").click()
    expect(page.locator("#ask")).to_be_enabled()
    expect(page.locator("#conversation")).not_to_contain_text(SLOW)
    expect(page.locator("#question textarea")).to_have_value("")
    ask(page, "hostile question")
    expect(page.locator("#conversation")).not_to_contain_text(EGG)


def test_a_page_with_a_key_asks_for_it(store_path: Path, tmp_path: Path, open_page: OpenPage) -> None:
    refill(store_path)
    server = PageServer.fake(store_path, tmp_path / "server.log", key="a-key-for-tests")
    try:
        server.start()
        for path in ("", "/config", "/gradio_api/info"):
            assert httpx.get(server.url + path).status_code == 401
        credentials = {"username": "anyone", "password": "a-key-for-tests"}
        page = open_page(server.url, http_credentials=credentials)
        ask(page, EGG)
        expect(page.locator("#conversation")).to_contain_text("egg")
        show_tab(page, "Demonstrations")
        page.get_by_role("button", name="Import a file").click()
        rows = tmp_path / "rows.jsonl"
        rows.write_text('{"prompt": "Hi?", "chosen": "Hello.", "rejected": "What?"}\n')
        page.locator("#import-file input[type=file]").set_input_files(rows)
        expect(page.locator("#import-outcome textarea")).to_have_value(re.compile("1 pair,"))
    finally:
        server.kill()
