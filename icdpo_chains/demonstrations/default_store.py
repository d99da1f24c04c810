"""The default store: the user's own store, which starts with the starter set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from icdpo_chains.foundation import environment

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.embedding import Embedder
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["default_store_path", "open_default_store"]


def default_store_path() -> Path:
    """Returns the value of `ICDPO_STORE`, or else a directory among the user's data."""
    import platformdirs

    if named := environment.store():
        return Path(named).expanduser()
    return Path(platformdirs.user_data_dir("icdpo-chains")) / "demonstrations"


def open_default_store(*, read_only: bool = False, embedder: Embedder | None = None) -> DemonstrationStore:
    """Opens the default store; creates a missing one from the starter demonstrations.

    Any other existing store stays unchanged. Demonstrations that the user removes stay removed: a marker file
    records that the starter set was added.

    Args:
        read_only: see `DemonstrationStore`.
        embedder: see `DemonstrationStore`.

    Raises:
        StoreError: see `DemonstrationStore`.
    """
    import filelock

    from icdpo_chains.demonstrations.chroma.database import has_database
    from icdpo_chains.demonstrations.starter import starter_demonstrations
    from icdpo_chains.demonstrations.store import DemonstrationStore
    from icdpo_chains.errors import StoreUnavailableError

    path = default_store_path()
    marker, begun = path / "starter-set-added", path / "starter-set-begun"

    def is_lacking() -> bool:
        return not marker.exists() and (begun.exists() or not has_database(path))

    if is_lacking():
        try:
            path.mkdir(parents=True, exist_ok=True)
            # Two processes may start at the same time: one fills the store, the other waits.
            with filelock.FileLock(path / "starter-set.lock"):
                if is_lacking():
                    begun.touch()  # distinguishes an unfilled default store from a store of the user's own
                    with DemonstrationStore(path, embedder=embedder) as store:
                        store.add(starter_demonstrations())
                    marker.touch()
                    begun.unlink()
        except OSError as error:
            raise StoreUnavailableError(
                f"the default store {path} can't be created ({error}): make it writable, or set another "
                "directory by ICDPO_STORE"
            ) from error
    return DemonstrationStore(path, embedder=embedder, read_only=read_only)
