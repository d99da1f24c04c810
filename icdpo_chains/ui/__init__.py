"""A page in the browser over an `ICDPO`, built on Gradio: `create_ui`, and `icdpo ui`, which serves it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from icdpo_chains.errors import ICDPOError

if TYPE_CHECKING:
    import gradio as gr

    from icdpo_chains.ui.backend import Backend

__all__ = ["create_ui", "ui_extra"]


def create_ui(backend: Backend) -> gr.Blocks:
    """Builds the page. `icdpo_chains.ui.serving` puts it on a server with access control.

    Args:
        backend: What all visitors of the page share.

    Raises:
        ICDPOError: Gradio is not installed.
    """
    with ui_extra():
        from icdpo_chains.ui.blocks import build_blocks
    return build_blocks(backend)


@contextmanager
def ui_extra() -> Iterator[None]:
    """Turns a failed import of Gradio into an error with the remedy.

    Raises:
        ICDPOError: The import failed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise ICDPOError(
            'the page needs gradio, which is not installed: pip install "icdpo-chains[ui]"'
        ) from None
