"""`build_icdpo`: the model and the store of a command, loaded with a status line."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from icdpo_chains.cli import options
from icdpo_chains.foundation.garbage_collection import paused_garbage_collection

if TYPE_CHECKING:
    from rich.status import Status

    from icdpo_chains.config import ICDPOConfig
    from icdpo_chains.demonstrations.embedding import Embedder
    from icdpo_chains.icdpo import ICDPO
    from icdpo_chains.policies.policy import Policy

__all__ = ["build_icdpo", "load_policy"]


def build_icdpo(status: Status, config: ICDPOConfig, embedder: Embedder | None = None) -> ICDPO:
    """Loads models and store, with a status line."""
    from concurrent.futures import ThreadPoolExecutor

    from icdpo_chains.demonstrations.embedding import SentenceTransformerEmbedder
    from icdpo_chains.demonstrations.open_store import check_exists
    from icdpo_chains.icdpo import ICDPO
    from icdpo_chains.packaged_models import catalog

    check_exists(config.store)  # before seconds of loading
    local = config.vllm is None and config.engine == "transformers"
    packaged = [catalog.DEFAULT_EMBEDDER, *([config.model or catalog.default_model()] if local else [])]
    for name in packaged:
        if not catalog.is_cached(name):
            catalog.resolve(name, on_progress=status.update)

    with paused_garbage_collection(freeze=True), ThreadPoolExecutor(2) as executor:
        # Hashing and reading weights need no interpreter, so that imports can go on meanwhile.
        checking = [executor.submit(catalog.resolve, name) for name in packaged]
        opening = executor.submit(options.open_store, config.store, read_only=True, embedder=embedder)
        try:
            if local:
                status.update("Importing torch and transformers ...")
                import transformers.modeling_utils  # noqa: F401
            for checked_model in checking:
                checked_model.result()
            policy = load_policy(status, config)
        except BaseException:
            with contextlib.suppress(Exception):
                opening.result().close()
            raise
        store = opening.result()
        if isinstance(store.embedder, SentenceTransformerEmbedder):
            store.embedder.load()  # which the first question would load otherwise
        return ICDPO.from_config(config, policy=policy, store=store)


def load_policy(status: Status, config: ICDPOConfig) -> Policy:
    """Loads the model of a config, fetching it first if necessary, or connects to its server."""
    from icdpo_chains.packaged_models import catalog

    if config.vllm is not None:
        status.update(f"Connecting to {config.vllm} ...")
        return config.build_policy()
    if config.engine == "transformers":
        catalog.resolve(config.model or catalog.default_model(), on_progress=status.update)
    status.update("Loading the model ...")
    if config.engine == "transformers" and str(config.model).lower().endswith(".gguf"):
        from importlib.util import find_spec

        if find_spec("llama_cpp") is not None:
            status.console.print(
                "llama-cpp-python is installed: --engine llama.cpp keeps the weights of this file quantized",
                style="dim",
            )
    # A download of gigabytes needs its own progress bars, which would collide with ours.
    bars = config.model is not None and not catalog.is_cached(config.model) and sys.stderr.isatty()
    if bars:
        status.stop()
        os.environ.pop("HF_HUB_DISABLE_PROGRESS_BARS", None)
    from transformers.utils import logging

    policy = config.build_policy()
    if bars:
        logging.disable_progress_bar()
        status.start()
    return policy
