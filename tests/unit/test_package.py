"""The promise of the core: importing it is quick, and loads neither torch nor an agent framework."""

import subprocess
import sys

import icdpo_chains
from icdpo_chains import errors

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
