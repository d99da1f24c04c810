"""docs/architecture.md names what there is: folders, layers and paths."""

from __future__ import annotations

import ast
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text("utf-8")
TREE = PAGE.split("```")[1]


def test_the_tree_has_every_folder_and_the_modules_of_the_root() -> None:
    folders = [
        folder
        for package in ("icdpo_chains", "integrations")
        for folder in (ROOT / package).rglob("*/")
        if any(folder.glob("*.py"))
    ]
    assert len(folders) > 20
    modules = [file for file in (ROOT / "icdpo_chains").glob("*.py") if file.name != "__init__.py"]
    named = re.findall(r"[\w.]+/|\w+\.py", TREE)
    assert [folder.name for folder in folders if f"{folder.name}/" not in named] == []
    assert [file.name for file in modules if file.name not in named] == []


def test_the_tree_has_only_what_exists() -> None:
    places = {
        path.name for package in ("icdpo_chains", "integrations") for path in (ROOT / package).rglob("*")
    }
    trees = [line for line in TREE.splitlines() if not line.startswith(("tests", "benchmarks", "examples"))]
    named = re.findall(r"[\w.]+(?=/)|\w+\.py", "\n".join(line[:36] for line in trees))
    assert [name for name in named if name not in places | {"icdpo_chains", "integrations"}] == []


def test_no_module_is_left_out() -> None:
    """A new module is imported by another one: a retriever by the catalog, an endpoint by the application."""
    sources = {
        ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file.read_text(
            "utf-8"
        )
        for root in (ROOT, ROOT / "integrations")
        for package in ("icdpo_chains", "langchain_icdpo", "llama_index_icdpo")
        for file in (root / package).rglob("*.py")
    }
    named = {name for text in sources.values() for name in _modules_in(text)}
    assert len(sources) > 200
    assert sorted(sources.keys() - named - {"icdpo_chains", "langchain_icdpo", "llama_index_icdpo"}) == []


def _modules_in(source: str) -> Iterator[str]:
    """The modules that a source imports, with their packages, and those that it names in texts."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value.partition(":")[0]]
        for name in names:
            yield from itertools.accumulate(name.split("."), "{}.{}".format)


def test_the_paths_of_the_tables_exist() -> None:
    tables = PAGE[PAGE.index("## Where to add") :]
    paths = re.findall(r"`([\w./]+/[\w./]*)`", tables)
    assert len(paths) > 60
    roots = (ROOT, ROOT / "icdpo_chains")
    assert [path for path in paths if not any((root / path).exists() for root in roots)] == []


def test_the_names_of_the_tables_exist() -> None:
    tables = PAGE[PAGE.index("## Where to add") :]
    names = set(re.findall(r"`([A-Z_][A-Za-z_]{3,})`", tables))
    sources = [
        file.read_text("utf-8")
        for package in ("icdpo_chains", "integrations")
        for file in (ROOT / package).rglob("*.py")
    ]
    assert len(names) > 15
    assert [
        name for name in sorted(names) if not any(re.search(rf"\b{name}\b", text) for text in sources)
    ] == []


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with 3.11")
def test_the_layers_are_those_of_the_contract() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    row = next(line for line in PAGE.splitlines() if line.startswith("| layers |"))
    shown = [set(re.findall(r"`(\w+)`", layer)) for layer in row.split("→")]
    assert shown == [set(re.findall(r"\w+", layer)) for layer in layers]
