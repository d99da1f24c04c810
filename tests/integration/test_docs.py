"""The Python of the README and of `docs/` runs as it stands; links and the reference are complete."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def section(heading: str) -> str:
    _, _, rest = (ROOT / "README.md").read_text("utf-8").partition(f"\n## {heading}\n")
    assert rest, f"the README has no section {heading!r}"
    return rest.partition("\n## ")[0]


PAGES = [
    "docs/quickstart.md",
    "docs/guides/guided.md",
    "docs/guides/backups.md",
    "docs/guides/langchain.md",
    "docs/guides/llama_index.md",
    "docs/guides/own_demonstrations.md",
    "docs/guides/own_policy.md",
    "README: LangChain",
    "README: LlamaIndex",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_snippets_run(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    _, in_readme, heading = name.partition("README: ")
    blocks = BLOCK.findall(section(heading) if in_readme else (ROOT / name).read_text("utf-8"))
    assert blocks
    store = tmp_path_factory.getbasetemp() / "example-store"  # that of the examples
    run = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)],
        capture_output=True,
        text=True,
        cwd=tmp_path_factory.mktemp("current"),  # a snippet may write beside itself
        env={**os.environ, "ICDPO_STORE": str(store)},
        timeout=600,
    )
    assert run.returncode == 0, run.stderr


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        text = page.read_text("utf-8")
        anchors = {
            re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        }
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if target.startswith("#"):
                assert target[1:] in anchors, f"{page.name}: {target}"
            elif not target.startswith("http"):
                assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target}"


def test_the_reference_has_every_public_name() -> None:
    names = (ROOT / "tests/unit/public_names.txt").read_text("utf-8").splitlines()
    public = {name for name in names if "." in name.split()[0] and not name.endswith(".__version__")}
    pages = "\n".join(page.read_text("utf-8") for page in (ROOT / "docs/reference").glob("*.md"))
    assert len(public) > 50
    assert public - set(re.findall(r"^::: (\S+)$", pages, re.MULTILINE)) == set()


def test_the_examples_page_shows_every_example() -> None:
    page = (ROOT / "docs/guides/examples.md").read_text("utf-8")
    shown = re.findall(r'^--8<-- "examples/(\S+)"$', page, re.MULTILINE)
    assert shown == sorted(file.name for file in (ROOT / "examples").glob("*.py"))


def test_the_command_line_page_has_every_command_and_option() -> None:
    hook = runpy.run_path(str(ROOT / "docs/command_line.py"))
    page = hook["on_page_markdown"](f"Before.\n{hook['MARKER']}\nAfter.")
    assert page.startswith("Before.\n## `icdpo`")
    section = ""
    for line in (ROOT / "tests/unit/public_names.txt").read_text("utf-8").splitlines():
        if not line.startswith("icdpo "):
            continue
        path, dashes, options = line.partition(" -")
        command = re.sub(r" [A-Z_ ]+$", "", path)
        section = page.partition(f"\n## `{command}`\n")[2].partition("\n## ")[0]
        if command != "icdpo":
            assert section, command
        if dashes and command != "icdpo":
            assert f"`-{options}`" in section, line
