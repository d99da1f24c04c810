"""The default ICDPO and the default retriever, shared by all parts of a process."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icdpo_chains.demonstrations.default_store import default_store_path
from icdpo_chains.demonstrations.open_store import open_store
from icdpo_chains.demonstrations.retriever import Retriever
from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.packaged_models.catalog import default_model

if TYPE_CHECKING:
    from icdpo_chains.config import ICDPOConfig
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["default_icdpo", "default_retriever"]

_lock = threading.Lock()
_latest: tuple[Any, ICDPO] | None = None


def default_icdpo(config: ICDPOConfig | None = None, *, store: DemonstrationStore | None = None) -> ICDPO:
    """Returns `ICDPO.from_config(...)`, the same object for the same config and store.

    The last ICDPO is kept, so that a chat model, a tool and a middleware load the weights only once, and so
    does a chat model that `configurable_fields` rebuilds at each call.

    Args:
        config: the settings; by default those of `ICDPOConfig` with the model of `ICDPO_MODEL`.
        store: replaces the store of the config.

    Raises:
        PolicyError, StoreError, WeightsError: see `ICDPO.from_config`.
    """
    from icdpo_chains.config import ICDPOConfig

    global _latest
    if config is None:
        config = ICDPOConfig()
    if config.model is None and config.vllm is None:
        config = config.changed({"model": default_model()})
    place: Any = store
    if store is None:
        place = str(default_store_path() if config.store is None else config.store)
    settings = (config.model_dump_json(), place)
    # One at a time: two threads must not load the same weights twice.
    with _lock:
        if _latest is None or _latest[0] != settings:
            _latest = None  # its memory may be needed
            _latest = (settings, ICDPO.from_config(config, store=store))
        return _latest[1]


def default_retriever(store: str | Path | DemonstrationStore | None = None) -> Retriever:
    """Returns a two-stage retriever over a store; loads no language model.

    Args:
        store: a store or its directory; by default the user's own.

    Raises:
        StoreError: the store can't be opened.
    """
    if store is None or isinstance(store, (str, Path)):
        store = open_store(store, read_only=True)
    return TwoStageRetriever(store)
