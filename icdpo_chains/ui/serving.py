"""Puts the page on the application of `icdpo_chains.server`, behind access control of its own."""

from __future__ import annotations

import importlib.resources
import logging

import gradio as gr
from fastapi import FastAPI
from gradio.route_utils import FnIndexInferError
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from icdpo_chains.config import ICDPOConfig
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.server.middleware.authentication import LoopbackOnly
from icdpo_chains.server.middleware.body_limit import BodyLimit
from icdpo_chains.server.service import Service
from icdpo_chains.ui.access import OwnOrigin, PageAccess
from icdpo_chains.ui.backend import Backend
from icdpo_chains.ui.blocks import build_blocks
from icdpo_chains.ui.lifetime import Lifetime

__all__ = ["add_page"]

_log = logging.getLogger(__name__)

_MOST_SESSIONS = 200
_LARGEST_UPLOAD = 50 * 2**20
_LARGEST_BODY = _LARGEST_UPLOAD + 2**20
# The reader's own fonts: Gradio's would come from another host.
_FONTS = ("system-ui", "sans-serif")
_MONO_FONTS = ("ui-monospace", "monospace")


def add_page(
    app: FastAPI, settings: ICDPOConfig, store: DemonstrationStore, *, path: str, api_key: str | None
) -> None:
    """Adds the page to an application, whose ICDPO, queue and limits the page shares.

    Args:
        app: The application of `create_app`.
        settings: The settings from which its ICDPO was built.
        store: The demonstrations of the ICDPO, which visitors may change.
        path: Where the page is, such as `"/ui"`; `"/"` hides the application's own endpoints.
        api_key: The password of the page, for any user name. Without it, the page answers only requests to a
            loopback address.
    """
    service: Service = app.state.service
    shared = (service.limits, service.queue, service.metrics.answered)
    backend = Backend(service.icdpo, store, settings, *shared)
    mounted = _mounted(backend, path)
    page: ASGIApp = Lifetime(mounted, lambda: mounted.router.lifespan_context(mounted), service.queue)
    page = OwnOrigin(BodyLimit(page, _LARGEST_BODY, service.limits.body_timeout))
    page = LoopbackOnly(page) if api_key is None else PageAccess(page, api_key.strip())
    app.add_middleware(_Beside, page=page, path=path.rstrip("/"))


def _mounted(backend: Backend, path: str) -> FastAPI:
    blocks = build_blocks(backend)
    blocks.state_session_capacity = _MOST_SESSIONS
    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gr.mount_gradio_app(
        outer,
        blocks,
        path=path,
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        show_error=False,
        max_file_size=_LARGEST_UPLOAD,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=_theme(),
        app_kwargs={"exception_handlers": dict.fromkeys((KeyError, FnIndexInferError), _unknown)},
        head=f"<style>{_styles()}</style>",  # css= would confine the rules to the inside of Gradio's margins
    )
    # Only after `launch()`, which a mounted page never calls, does Gradio check that the files of a request
    # were uploaded: a request could name any file of this machine.
    blocks.has_launched = blocks.is_running = True
    return outer


async def _unknown(request: Request, error: Exception) -> JSONResponse:
    """Answers a request that names a function or a component that the page does not have."""
    _log.debug("a request to the page has no function or component", exc_info=error)  # or Gradio has a fault
    return JSONResponse({"detail": "the page has nothing of this name: reload the page"}, 404)


def _styles() -> str:
    return importlib.resources.files("icdpo_chains.ui").joinpath("page.css").read_text("utf-8")


def _theme() -> gr.themes.Base:
    theme = gr.themes.Default(primary_hue="blue", font=list(_FONTS), font_mono=list(_MONO_FONTS))
    # Darker than Gradio's, for readers who need contrast.
    return theme.set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
    )


class _Beside:
    """Middleware that sends the requests below a path to the page, and all others to the application."""

    def __init__(self, app: ASGIApp, page: ASGIApp, path: str) -> None:
        self._app, self._page, self._path = app, page, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wanted = scope.get("path", "")
        if scope["type"] == "http" and (wanted == self._path or wanted.startswith(f"{self._path}/")):
            await self._page(scope, receive, send)
        else:
            await self._app(scope, receive, send)
