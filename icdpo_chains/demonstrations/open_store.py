"""`open_store`: opens a store by its name, a directory or the address of a Chroma server."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.foundation import environment
from icdpo_chains.foundation.url_credentials import has_credentials

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.embedding import Embedder
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["check_exists", "create_if_absent", "is_server", "open_store"]

_FORM = "http://HOST:PORT/COLLECTION?tenant=TENANT&database=DATABASE, all after the port as needed"


def is_server(place: str | os.PathLike[str]) -> bool:
    """Returns whether a store's name is the address of a server."""
    return str(place).lower().startswith(("http://", "https://"))


def open_store(
    place: str | os.PathLike[str] | None = None, *, read_only: bool = False, embedder: Embedder | None = None
) -> DemonstrationStore:
    """Opens a store by its name.

    Args:
        place: a directory; or the address of a Chroma server,
            `http://host:port/collection?tenant=...&database=...`, in which everything after the port is
            optional, with the server's token in `ICDPO_CHROMA_TOKEN`; or `None` for the value of
            `ICDPO_STORE`, or else the user's own directory.
        read_only: see `DemonstrationStore`; ignored for a server.
        embedder: see `DemonstrationStore`.

    Raises:
        InvalidInputError: the address is invalid.
        StoreError: see `DemonstrationStore` and `DemonstrationStore.connect`.
    """
    from icdpo_chains.demonstrations.default_store import open_default_store
    from icdpo_chains.demonstrations.store import DemonstrationStore

    named = environment.store() if place is None else place
    if named and is_server(named):
        return _connected(str(named), embedder)
    if place is None:
        return open_default_store(read_only=read_only, embedder=embedder)
    return DemonstrationStore(Path(place), read_only=read_only, embedder=embedder)


def check_exists(place: str | os.PathLike[str] | None) -> None:
    """Checks in no time that a directory has a store to read; other names of stores pass.

    Raises:
        StoreUnavailableError: there is no store in the directory.
    """
    from icdpo_chains.demonstrations.chroma.local import ReadOnlyDirectory

    if place is not None and not is_server(place):
        ReadOnlyDirectory(Path(place)).check_exists()


def create_if_absent(place: str | os.PathLike[str] | None, *, embedder: Embedder | None = None) -> bool:
    """Creates an empty store in a directory that is missing or empty; other places stay unchanged.

    Args:
        place: see `open_store`.
        embedder: see `DemonstrationStore`.

    Returns:
        Whether the store is new.

    Raises:
        StoreError: the store can't be created.
    """
    from icdpo_chains.demonstrations.store import DemonstrationStore

    if place is None or is_server(place):
        return False
    path = Path(place)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        return False
    DemonstrationStore(path, embedder=embedder).close()
    return True


def _connected(address: str, embedder: Embedder | None) -> DemonstrationStore:
    from icdpo_chains.demonstrations.store import DemonstrationStore

    # The messages below repeat the address, or a part of it. No name in a path contains an @.
    if has_credentials(address) or "@" in address.partition("?")[0]:
        raise InvalidInputError(
            "the store's address contains a user name, a password or a key: leave them out, and set "
            "ICDPO_CHROMA_TOKEN instead"
        )
    options: Mapping[str, Sequence[str | None]]
    try:
        parts = urlsplit(address)
        options = parse_qs(parts.query, strict_parsing=bool(parts.query))
        port = parts.port or (443 if parts.scheme == "https" else 8000)
    except ValueError as error:
        raise InvalidInputError(f"the store's address can't be read ({error}): write {_FORM}") from None
    collection = unquote(parts.path.strip("/"))
    unknown = options.keys() - {"tenant", "database"}
    if not parts.hostname or "/" in collection or unknown:
        raise InvalidInputError(f"{address!r} is not the address of a Chroma server: write {_FORM}")
    return DemonstrationStore.connect(
        parts.hostname,
        port,
        ssl=parts.scheme == "https",
        token=environment.chroma_token(),
        tenant=options.get("tenant", [None])[-1],
        database=options.get("database", [None])[-1],
        embedder=embedder,
        collection=collection or "demonstrations",
    )
