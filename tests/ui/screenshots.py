"""Pictures of the page for the docs: `python tests/ui/screenshots.py DIRECTORY` (see `make screenshots`).

The page of `icdpo ui` on the default model, at 1280 and at 400 pixels, light and dark.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from icdpo_chains import DemonstrationStore, starter_demonstrations

sys.path.insert(0, str(Path(__file__).parent))

from server import PageServer  # a module beside this script

QUESTION = "I am nervous about my first day at a new job. Any advice?"
BETTER = "- Arrive ten minutes early.\n- Write down every name that you hear.\n- Ask one question an hour."
ROWS = """question,good,bad
How do I oil a bicycle chain?,One drop on each link. Then wipe the chain dry.,Use butter.
Which hobby is quiet?,Drawing: you need a pencil and paper.,Drums.
"""
COLOURS = 128


def main(directory: Path) -> None:
    """Takes all pictures."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        store = Path(scratch, "store")
        with DemonstrationStore(store) as opened:
            opened.add(list(starter_demonstrations())[:8])
        options = ["--n", "4", "--k", "2", "--max-tokens", "64", "--seed", "4"]
        server = PageServer.real(store, Path(scratch, "log"), *options)
        server.start()
        try:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"] if os.geteuid() == 0 else []
            )
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(60_000)
            expect.set_options(timeout=60_000)
            page.goto(server.url)
            visit(page, directory, Path(scratch))
        finally:
            server.kill()


def visit(page: Page, directory: Path, scratch: Path) -> None:
    """Asks, teaches, and looks at every tab."""
    page.get_by_label("Also answer without demonstrations").check()
    page.locator("#question textarea").fill(QUESTION)
    page.locator("#ask").click()
    expect(page.locator("#status")).to_contain_text("tokens read")
    page.get_by_role("button", name="Demonstrations that the model was shown").click()
    picture(page, directory, "chat")
    page.get_by_role("tab", name="Teach").click()
    expect(page.locator("#better textarea")).not_to_have_value("")  # filled with the answer, a moment later
    page.locator("#better textarea").fill(BETTER)
    page.locator("#save").click()
    expect(page.locator("#undo")).to_be_enabled()
    page.locator("#ask-again").click()
    expect(page.locator("#difference")).to_contain_text("New demonstrations")
    picture(page, directory, "teach")
    page.get_by_role("tab", name="Demonstrations").click()
    page.locator("#demonstrations-query textarea, #demonstrations-query input").first.fill("a new job")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#demonstrations-list label").first).to_contain_text("similarity")
    page.locator("#demonstrations-list label").first.click()
    expect(page.locator("#demonstration-prompt textarea")).not_to_have_value("")
    page.get_by_role("button", name="Import a file").click()
    rows = scratch / "preferences.csv"
    rows.write_text(ROWS)
    page.locator("#import-file input[type=file]").set_input_files(rows)
    page.get_by_label("Columns").fill("prompt=question,chosen=good,rejected=bad")
    expect(page.locator("#import")).to_be_enabled()
    page.get_by_role("button", name="Statistics").click()
    page.get_by_role("button", name="Count").click()
    expect(page.locator("#demonstrations-statistics textarea")).not_to_have_value("")
    picture(page, directory, "demonstrations")
    page.get_by_role("tab", name="Settings").click()
    expect(page.locator("#snippet")).to_contain_text("import")
    picture(page, directory, "settings")


def picture(page: Page, directory: Path, name: str) -> None:
    """Writes a picture for each width and colour scheme, in few colours."""
    for width in (1280, 400):
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            page.mouse.move(0, 0)
            page.wait_for_timeout(1_000)  # for the animations of a new size
            shot = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
            file = directory / f"{name}-{width}-{scheme}.png"
            shot.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
            print(f"{file}: {file.stat().st_size // 1024} KB", flush=True)
    page.set_viewport_size({"width": 1280, "height": 900})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
