"""The examples run as they are, each in a process of its own, as a reader would run them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(file.name for file in EXAMPLES.glob("*.py")))
def test_an_example_runs(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    # One store for all of them: the user's own is not touched.
    store = tmp_path_factory.getbasetemp() / "example-store"
    run = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:icdpo_chains", str(EXAMPLES / name)],
        capture_output=True,
        text=True,
        env={**os.environ, "ICDPO_STORE": str(store), "TOKENIZERS_PARALLELISM": "false"},
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()
