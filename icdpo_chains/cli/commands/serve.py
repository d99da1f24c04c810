"""`icdpo serve`: an OpenAI-compatible server."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from icdpo_chains.cli import loading, options
from icdpo_chains.cli.api_key import APIKeyFile, read_api_key
from icdpo_chains.cli.command import checked
from icdpo_chains.cli.config_options import command_with_settings
from icdpo_chains.cli.console import say, working
from icdpo_chains.foundation.network import base_url, bind
from icdpo_chains.server.limits import ServerLimits

if TYPE_CHECKING:
    from icdpo_chains.config import ICDPOConfig

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command_with_settings(app, "serve", without=("seed",))(serve)


def serve(
    host: options.Host = "127.0.0.1",
    port: options.Port = 8000,
    api_key_file: APIKeyFile = None,
    model_name: Annotated[str | None, typer.Option(help="Name of the model for clients.")] = None,
    demonstrations: Annotated[
        bool, typer.Option("--demonstrations", help="Let clients read and change the demonstrations.")
    ] = False,
    ui: Annotated[
        bool,
        typer.Option(
            "--ui", help="Show the page of `icdpo ui` at /ui; its visitors may teach and change all."
        ),
    ] = False,
    max_waiting: Annotated[
        int, typer.Option(help="The maximum number of questions in progress or waiting.")
    ] = ServerLimits.max_waiting,
    max_body_bytes: Annotated[
        int, typer.Option(help="The largest request, in bytes.")
    ] = ServerLimits.max_body_bytes,
    max_candidates: Annotated[
        int, typer.Option(help="The maximum number of candidates a request may ask for.")
    ] = ServerLimits.max_candidates,
    max_demonstrations: Annotated[
        int, typer.Option(help="The maximum number of demonstrations a request may ask for.")
    ] = ServerLimits.max_demonstrations,
    max_characters: Annotated[
        int, typer.Option(help="The longest conversation or response, in characters.")
    ] = ServerLimits.max_characters,
    max_tokens_limit: Annotated[
        int, typer.Option(help="The longest answer a request may ask for, in tokens.")
    ] = ServerLimits.max_tokens,
    request_timeout: Annotated[
        float, typer.Option(help="The longest time for an answer, in seconds.")
    ] = ServerLimits.request_timeout,
    access_log: Annotated[
        Literal["off", "text", "json"],
        typer.Option(help="Log each request on standard error, without its texts."),
    ] = "text",
    *,
    settings: ICDPOConfig,
) -> None:
    """Serve OpenAI's clients until SIGTERM or Ctrl-C. Requests may override most options."""
    from icdpo_chains.server import create_app, server_extra

    with server_extra():
        from icdpo_chains.server import uvicorn_server
        from icdpo_chains.server.middleware.access_log import write_to_stderr
    if ui:
        from icdpo_chains.ui import ui_extra

        with ui_extra():
            from icdpo_chains.ui.serving import add_page
    with checked():
        limits = ServerLimits(
            max_waiting=max_waiting,
            max_body_bytes=max_body_bytes,
            max_candidates=max_candidates,
            max_demonstrations=max_demonstrations,
            max_characters=max_characters,
            max_tokens=max_tokens_limit,
            request_timeout=request_timeout,
        )
    key = read_api_key(api_key_file, host)
    with contextlib.ExitStack() as stack:
        # Bind before the model is loaded, so that a taken address fails at once.
        bound = stack.enter_context(contextlib.closing(bind(host, port)))
        with working("Preparing ...") as status:
            embedder = options.embedder()  # readers and writers share it
            icdpo = loading.build_icdpo(status, settings, embedder)
            store = None
            if demonstrations or ui:
                store = options.open_store(settings.store, read_only=not demonstrations, embedder=embedder)
                stack.enter_context(store)
            editable = store if demonstrations else None
        with checked():
            app = create_app(
                icdpo, model_name=model_name, api_key=key, demonstrations=editable, limits=limits
            )
            if store is not None and ui:
                add_page(app, settings, store, path="/ui", api_key=key)
        if access_log != "off":
            write_to_stderr(as_json=access_log == "json")
        ready = f"{app.state.service.model_name} answers at {base_url(bound)}/v1"
        if ui:
            ready += f", the page is at {base_url(bound)}/ui/"
        uvicorn_server.serve(app, bound, on_ready=lambda: say(ready))
