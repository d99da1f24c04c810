"""`icdpo mcp`: a Model Context Protocol server whose tools answer, rank and search."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from icdpo_chains.cli import loading
from icdpo_chains.cli.api_key import APIKeyFile, read_api_key
from icdpo_chains.cli.config_options import command_with_settings
from icdpo_chains.cli.console import error_line, say, working
from icdpo_chains.foundation.network import base_url, bind

if TYPE_CHECKING:
    from icdpo_chains.config import ICDPOConfig
    from icdpo_chains.icdpo import ICDPO

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command_with_settings(app, "mcp", without=("seed",))(mcp)


def mcp(
    transport: Annotated[
        Literal["stdio", "http"],
        typer.Option(help="stdio for a client that starts this command; http for several clients."),
    ] = "stdio",
    host: Annotated[str, typer.Option(help="Address for http; any address but loopback needs a key.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port for http; 0 takes a free one.")] = 8765,
    api_key_file: APIKeyFile = None,
    write: Annotated[bool, typer.Option("--write", help="Let clients add demonstrations.")] = False,
    *,
    settings: ICDPOConfig,
) -> None:
    """Give agents tools to answer, to rank answers and to search demonstrations (MCP)."""
    from icdpo_chains.mcp import create_mcp_server, transports

    def load() -> ICDPO:
        with working("Preparing ...") as status:
            return loading.build_icdpo(status, settings)

    if transport == "stdio":
        with transports.protocol_output() as output:
            loaded: Future[ICDPO] = Future()
            server = create_mcp_server(loaded.result, editable=write)
            # Clients wait only seconds for a server's first message, so load in the background.
            threading.Thread(target=_settle, args=(loaded, load), daemon=True).start()
            transports.run_stdio(server, output)
        return
    key = read_api_key(api_key_file, host)
    # Bind before the model is loaded, so that a taken address fails at once.
    with bind(host, port) as bound:
        server = create_mcp_server(load(), editable=write)
        transports.run_http(
            server, bound, api_key=key, on_ready=lambda: say(f"tools at {base_url(bound)}/mcp")
        )


def _settle(future: Future[ICDPO], load: Callable[[], ICDPO]) -> None:
    """Loads the ICDPO into the future; an error goes to the future and to the server's log."""
    try:
        future.set_result(load())
    except BaseException as error:
        error_line(f"{error} (fix this, then start the server again)")
        future.set_exception(error)
