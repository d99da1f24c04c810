"""The Python on the pages of `docs/`, and in the README's sections on frameworks, runs as it stands."""

import os
import re
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


PAGES = {
    "docs/langchain.md": lambda: (ROOT / "docs/langchain.md").read_text("utf-8"),
    "docs/llama_index.md": lambda: (ROOT / "docs/llama_index.md").read_text("utf-8"),
    "README: LangChain": lambda: section("LangChain"),
    "README: LlamaIndex": lambda: section("LlamaIndex"),
}


@pytest.mark.parametrize("name", PAGES)
def test_the_snippets_run(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    blocks = BLOCK.findall(PAGES[name]())
    assert blocks
    store = tmp_path_factory.getbasetemp() / "example-store"  # that of the examples
    run = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)],
        capture_output=True,
        text=True,
        env={**os.environ, "ICDPO_STORE": str(store)},
        timeout=600,
    )
    assert run.returncode == 0, run.stderr


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
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
