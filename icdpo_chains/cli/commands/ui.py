"""`icdpo ui`: a page in the browser to ask and to teach."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import typer

from icdpo_chains.cli import loading, options
from icdpo_chains.cli.api_key import APIKeyFile, read_api_key
from icdpo_chains.cli.command import checked
from icdpo_chains.cli.config_options import command_with_settings
from icdpo_chains.cli.console import say, working
from icdpo_chains.demonstrations.open_store import create_if_absent
from icdpo_chains.foundation.network import base_url, bind

if TYPE_CHECKING:
    from icdpo_chains.config import ICDPOConfig

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command_with_settings(app, "ui")(ui)


def ui(
    host: options.Host = "127.0.0.1",
    port: options.Port = 7860,
    api_key_file: APIKeyFile = None,
    *,
    settings: ICDPOConfig,
) -> None:
    """Show a page to ask, to compare candidates and to teach by thumbs, until SIGTERM or Ctrl-C.

    The key is the page's password. Any address but loopback needs one. A store
    that does not exist is created; the page's tab Demonstrations fills it.
    """
    from icdpo_chains.server import create_app, server_extra
    from icdpo_chains.ui import ui_extra

    with ui_extra(), server_extra():
        from icdpo_chains.server import uvicorn_server
        from icdpo_chains.ui.serving import add_page
    key = read_api_key(api_key_file, host)
    # Bind before the model is loaded, so that a taken address fails at once.
    with contextlib.closing(bind(host, port)) as bound:
        with working("Preparing ...") as status:
            embedder = options.embedder()  # readers and writers share it
            new = create_if_absent(settings.store, embedder=embedder)
            icdpo = loading.build_icdpo(status, settings, embedder)
            store = options.open_store(settings.store, read_only=True, embedder=embedder)
        with checked():
            app = create_app(icdpo, api_key=key)
            add_page(app, settings, store, path="/", api_key=key)
        ready = f"the page is at {base_url(bound)}"
        if new:
            ready += "; its store is new and empty: the tab Demonstrations fills it"
        uvicorn_server.serve(app, bound, on_ready=lambda: say(ready))
