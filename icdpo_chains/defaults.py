"""What is built where nothing was given: one ICDPO and one retriever that all parts of a process share."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icdpo_chains.demonstrations.default_store import default_store_path
from icdpo_chains.demonstrations.opening import open_store
from icdpo_chains.demonstrations.retrieval import Retriever, TwoStageRetriever
from icdpo_chains.icdpo import ICDPO

if TYPE_CHECKING:
    from icdpo_chains.config import ICDPOConfig
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["default_icdpo", "default_retriever"]

_lock = threading.Lock()
_latest: tuple[Any, ICDPO] | None = None


def default_icdpo(
    model: str | None = None,
    *,
    revision: str | None = None,
    store: str | Path | DemonstrationStore | None = None,
    against: str = "rejected",
    aggregate: str = "mean",
    dtype: str | None = None,
    device: str | None = None,
    config: ICDPOConfig | None = None,
) -> ICDPO:
    """Returns `ICDPO.from_defaults(...)`, the same object for the same settings.

    The one built last is kept, so that a chat model, a tool and a middleware load the weights once between
    them, and so does a chat model that `configurable_fields` makes anew at each call.

    Args:
        model: the name or path of a model.
        revision: its branch, tag or commit on the hub.
        store: a store or the directory of one; by default the user's own.
        against: see `InstantScorer`.
        aggregate: see `InstantScorer`.
        dtype: of the model.
        device: of the model.
        config: in place of all other settings: those of a file, by `ICDPO.from_config`.

    Raises:
        PolicyError, StoreError, WeightsError: as `ICDPO.from_defaults`.
    """
    global _latest
    if isinstance(store, (str, Path)) or store is None:
        place: Any = str(default_store_path() if store is None else store)
    else:
        place = store
    settings: Any = (model, revision, place, against, aggregate, dtype, device)
    if config is not None:
        settings = (config.model_dump_json(), place)
    # One at a time: two threads that begin together must not load the same weights twice.
    with _lock:
        if _latest is None or _latest[0] != settings:
            _latest = None  # its memory may be needed
            policy: Any = model
            if revision is not None:
                from icdpo_chains.policies.transformers.policy import TransformersPolicy

                policy = TransformersPolicy.from_pretrained(
                    model, dtype=dtype, device=device, revision=revision
                )
            if config is not None:
                icdpo = ICDPO.from_config(config)
            else:
                icdpo = ICDPO.from_defaults(
                    policy,
                    store=store,
                    against=against,  # type: ignore[arg-type]  # checked by InstantScorer
                    aggregate=aggregate,  # type: ignore[arg-type]
                    dtype=dtype,
                    device=device,
                )
            _latest = (settings, icdpo)
        return _latest[1]


def default_retriever(store: str | Path | DemonstrationStore | None = None) -> Retriever:
    """Returns a two-stage retriever over a store; no language model is loaded.

    Args:
        store: a store or the directory of one; by default the user's own.

    Raises:
        StoreError: the store can't be opened.
    """
    if store is None or isinstance(store, (str, Path)):
        store = open_store(store, read_only=True)
    return TwoStageRetriever(store)
