"""`icdpo mcp`: the same as tools of a Model Context Protocol server."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from icdpo_chains.cli import options
from icdpo_chains.cli.command import command
from icdpo_chains.cli.console import error_line, working
from icdpo_chains.errors import InvalidInputError

if TYPE_CHECKING:
    from icdpo_chains.icdpo import ICDPO

__all__ = ["register"]

_KEY = "ICDPO_API_KEY"


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command(app, "mcp")(mcp)


def mcp(
    context: typer.Context,
    transport: Annotated[
        Literal["stdio", "http"], typer.Option(help="stdio for a client that starts this; http for several.")
    ] = "stdio",
    host: Annotated[str, typer.Option(help="Where http listens; others than loopback need a key.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8765,
    api_key_file: Annotated[
        Path | None, typer.Option(help=f"Holds the key that http clients have to send; or set {_KEY}.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Let clients add demonstrations.")] = False,
    n: Annotated[int, typer.Option("--n", "-n", help="Candidates sampled.")] = 8,
    k: options.Demonstrations = 2,
    against: options.Against = "rejected",
    aggregate: options.Aggregate = "mean",
    max_tokens: Annotated[int, typer.Option(help="The longest answer, in tokens.")] = 128,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest token.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Only the likeliest tokens up to this probability.")] = 0.8,
    finalists: Annotated[
        int | None, typer.Option(help="Sample no more candidates than these to their end; for a large n.")
    ] = None,
    config: options.Config = None,
    model: options.Model = None,
    vllm: options.VLLM = None,
    store: options.StorePath = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
) -> None:
    """Give agents the tools to answer, to rank answers, and to search the demonstrations (MCP)."""
    from icdpo_chains.mcp_server import create_mcp_server, transports

    settings = options.configured(
        context,
        config,
        model=model,
        vllm=vllm,
        store=store,
        k=k,
        against=against,
        aggregate=aggregate,
        dtype=dtype,
        device=device,
        n=n,
        finalists=finalists,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
    )

    def load() -> ICDPO:
        with working("Preparing ...") as status:
            return options.build_icdpo(status, settings)

    if transport == "stdio":
        with transports.protocol_output() as output:
            loaded: Future[ICDPO] = Future()
            server = create_mcp_server(loaded.result, editable=write)
            # Clients wait for the first answer of a server for seconds only.
            threading.Thread(target=_settle, args=(loaded, load), daemon=True).start()
            transports.run_stdio(server, output)
        return
    key = _read_key(api_key_file)
    if key is None and not _is_loopback(host):
        raise typer.BadParameter(
            f"others can reach {host}, so that a key is needed: give --api-key-file FILE, or set {_KEY}"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Before the model is loaded: if the address is taken, that is said at once.
    with socket.create_server((host, port), family=family) as bound:
        server = create_mcp_server(load(), editable=write)
        shown = f"[{host}]" if ":" in host else host
        sys.stderr.write(f"icdpo: tools at http://{shown}:{bound.getsockname()[1]}/mcp\n")
        sys.stderr.flush()
        transports.run_http(server, bound, api_key=key)


def _settle(future: Future[ICDPO], load: Callable[[], ICDPO]) -> None:
    """Loads; an error is told to whoever asks for the result, and in the server's log."""
    try:
        future.set_result(load())
    except BaseException as error:
        error_line(f"{error} (start the server again when that is mended)")
        future.set_exception(error)


def _is_loopback(host: str) -> bool:
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_key(file: Path | None) -> str | None:
    """Returns the key of the file, or of the environment; never of the command line, which all can read."""
    key, where = os.environ.get(_KEY), _KEY
    if file is not None:
        key, where = file.read_text(encoding="utf-8", errors="replace"), str(file)
    if key is None:
        return None
    if len(key.split()) != 1 or not key.isascii():
        raise InvalidInputError(f"{where} must hold one API key: ASCII, without white space in it")
    return key.strip()
