"""The promise of the core: importing it is quick, and loads neither torch nor an agent framework."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import icdpo_chains
from icdpo_chains import errors

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch",
    "transformers",
    "chromadb",
    "bm25s",
    "sentence_transformers",
    "langchain_core",
    "llama_index",
)


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}; import sys; print('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in run.stdout.splitlines()}


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import icdpo_chains") & set(HEAVY)


def test_importing_every_public_name_loads_nothing_heavy() -> None:
    assert not loaded_after("from icdpo_chains import *") & set(HEAVY)


def test_every_public_name_can_be_had() -> None:
    for name in icdpo_chains.__all__:
        assert getattr(icdpo_chains, name) is not None
    assert set(icdpo_chains.__all__) <= set(dir(icdpo_chains))


def test_every_error_is_an_icdpo_error_and_drawn_in_the_tree() -> None:
    assert errors.__doc__ is not None
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.ICDPOError)
        assert name in errors.__doc__


def test_every_imported_distribution_is_declared() -> None:
    """A package that only another one brings along may be gone with the other's next version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [item for items in project["optional-dependencies"].values() for item in items]
    declared = {
        re.split(r"[^\w.-]", item)[0].lower().replace("_", "-")
        for item in [*project["dependencies"], *extras]
    }
    provided = {name.lower().replace("_", "-") for name in declared}
    known = importlib.metadata.packages_distributions()
    missing = {
        f"{module} ({file.name})"
        for folder in ("icdpo_chains", "integrations")
        for file in (ROOT / folder).rglob("*.py")
        for module in imported_by(file)
        if module not in sys.stdlib_module_names
        and module not in {"icdpo_chains", "langchain_icdpo", "llama_index_icdpo"}
        and module in known
        and not {name.lower().replace("_", "-") for name in known[module]} & provided
    }
    assert not missing


def imported_by(file: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            modules.add(node.module.partition(".")[0])
    return modules


def test_only_the_transformers_policy_knows_its_own_engine() -> None:
    """Other code uses what is public: `exclusive()`, `model`, `tokenizer`."""
    private = re.compile(r"\bpolicy\._(lock|engine|batches)\b")
    assert not [
        str(file) for file in (ROOT / "icdpo_chains").rglob("*.py") if private.search(file.read_text("utf-8"))
    ]
