"""`icdpo serve`: an OpenAI-compatible server."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from icdpo_chains.cli import options
from icdpo_chains.cli.command import checked, command
from icdpo_chains.cli.console import working
from icdpo_chains.errors import InvalidInputError

__all__ = ["register"]

_KEY = "ICDPO_API_KEY"


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command(app, "serve")(serve)


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen at; others than loopback need a key.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8000,
    api_key_file: Annotated[
        Path | None, typer.Option(help=f"Holds the key that clients have to send; or set {_KEY}.")
    ] = None,
    model_name: Annotated[str | None, typer.Option(help="What clients call the model.")] = None,
    demonstrations: Annotated[
        bool, typer.Option("--demonstrations", help="Let clients read and change the demonstrations.")
    ] = False,
    max_waiting: Annotated[int, typer.Option(help="Questions answered or waiting at most.")] = 256,
    max_body_bytes: Annotated[int, typer.Option(help="The largest request.")] = 2**20,
    max_candidates: Annotated[int, typer.Option(help="The most candidates a request may ask for.")] = 32,
    max_tokens_limit: Annotated[int, typer.Option(help="The longest answer it may ask for.")] = 1024,
    request_timeout: Annotated[float, typer.Option(help="Seconds that an answer may take.")] = 300.0,
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
    """Serve answers to OpenAI's clients, until SIGTERM or Ctrl-C; requests may override how."""
    from icdpo_chains.server import ServerLimits, create_app, server_extra

    with server_extra():
        from icdpo_chains.server import serving
        from icdpo_chains.server.authentication import is_loopback

    with checked():
        limits = ServerLimits(
            max_waiting=max_waiting,
            max_body_bytes=max_body_bytes,
            max_candidates=max_candidates,
            max_tokens=max_tokens_limit,
            request_timeout=request_timeout,
        )
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
    key = _read_key(api_key_file)
    if key is None and not is_loopback(host):
        raise typer.BadParameter(
            f"others can reach {host}, so that a key is needed: give --api-key-file FILE, or set {_KEY}"
        )
    with contextlib.ExitStack() as stack:
        # Before the model is loaded: if the address is taken, that is said at once.
        bound = stack.enter_context(contextlib.closing(serving.bind(host, port)))
        with working("Preparing ...") as status:
            icdpo = options.build_icdpo(status, settings)
            editable = None
            if demonstrations:
                editable = stack.enter_context(options.open_store(settings.store, read_only=False))
        with checked():
            app = create_app(
                icdpo, model_name=model_name, api_key=key, demonstrations=editable, limits=limits
            )
        ready = f"icdpo: {app.state.service.model_name} answers at {serving.url(bound)}\n"
        serving.serve(app, bound, on_ready=lambda: _say(ready))


def _say(line: str) -> None:
    sys.stderr.write(line)
    sys.stderr.flush()


def _read_key(file: Path | None) -> str | None:
    """Returns the key of the file, or of the environment; never of the command line, which all can read."""
    if file is None:
        key, where = os.environ.get(_KEY), _KEY
        if key is None:
            return None
    else:
        try:
            key, where = file.read_text(encoding="utf-8"), str(file)
        except UnicodeDecodeError:
            raise InvalidInputError(f"{file} is not UTF-8, and is to hold an API key") from None
    if len(key.split()) != 1:
        raise InvalidInputError(f"{where} must hold one API key, without white space in it")
    return key.strip()
