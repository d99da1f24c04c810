"""The default models, loaded once; they are fetched into the user's cache if they are not there yet."""

from pathlib import Path

import pytest

from icdpo_chains import DemonstrationStore, TransformersPolicy, starter_demonstrations


@pytest.fixture(scope="session")
def policy() -> TransformersPolicy:
    """The default model in float32, in which fast and slow paths have to agree to 1e-4."""
    return TransformersPolicy.from_pretrained(dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def starter_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store on disk that holds the starter set, embedded by the default embedder."""
    path = tmp_path_factory.mktemp("starter") / "store"
    with DemonstrationStore(path) as store:
        store.add(starter_demonstrations())
    return path
