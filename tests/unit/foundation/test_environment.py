"""Environment variables are read in one module, and the guide has a table of them."""

import inspect
import re
from pathlib import Path

import pytest

from icdpo_chains.foundation import environment

ROOT = Path(__file__).parents[3]
READERS = [
    function
    for name, function in inspect.getmembers(environment, inspect.isfunction)
    if not name.startswith("_")
]


def variable_of(reader: object) -> str:
    found = re.search(r"`([A-Z_]+)`", inspect.getdoc(reader) or "")
    assert found is not None
    return found[1]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: str(reader.__name__))
def test_each_function_reads_the_variable_of_its_docstring(
    reader: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(reader)
    monkeypatch.delenv(variable_of(reader), raising=False)
    assert reader() is None
    monkeypatch.setenv(variable_of(reader), "/given")
    assert str(reader()) == "/given"
    monkeypatch.setenv(variable_of(reader), "")
    assert reader() == ("" if reader is environment.server_key else None)


def test_no_other_module_reads_the_environment() -> None:
    reads = re.compile(r"os\.getenv|os\.environ(\.get\b|\[)")
    files = [*ROOT.glob("icdpo_chains/**/*.py"), *ROOT.glob("integrations/**/*.py")]
    assert len(files) > 100
    found = [str(file.relative_to(ROOT)) for file in files if reads.search(file.read_text("utf-8"))]
    assert found == ["icdpo_chains/foundation/environment.py"]


def test_the_guide_has_all_variables() -> None:
    guide = (ROOT / "docs/guides/settings.md").read_text("utf-8")
    listed = re.findall(r"^\| `([A-Z_]+)` \|", guide, re.MULTILINE)
    assert sorted(listed) == sorted(map(variable_of, READERS))
