"""A Model Context Protocol server over an `ICDPO`: `create_mcp_server`; `icdpo mcp` runs it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from icdpo_chains.errors import ICDPOError

if TYPE_CHECKING:
    from mcp.server.fastmcp import FastMCP

    from icdpo_chains.demonstrations.store import DemonstrationStore
    from icdpo_chains.icdpo import ICDPO

__all__ = ["create_mcp_server"]

_INSTRUCTIONS = (
    "Answers by a local language model, aligned to a set of demonstrations of good and bad answers: "
    "several candidates are sampled, and the one that the demonstrations make most likely is returned."
)
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def create_mcp_server(
    icdpo: ICDPO | Callable[[], ICDPO], *, store: DemonstrationStore | None = None, editable: bool = False
) -> FastMCP:
    """Builds the server, with the tools `aligned_answer`, `rank_answers` and `search_demonstrations`.

    Args:
        icdpo: the ICDPO, or a function that returns it. The function is called in a thread at each use, so a
            client can list the tools while the model is loading.
        store: the store to search and to add to; by default the retriever's own.
        editable: also offer the tool `add_demonstration`.

    Raises:
        ICDPOError: the `mcp` package is not installed.
    """
    try:
        from mcp.server.transport_security import TransportSecuritySettings
        from mcp.types import ToolAnnotations
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "mcp":
            raise
        raise ICDPOError(
            'the Model Context Protocol is not installed: pip install "icdpo-chains[mcp]"'
        ) from None
    from icdpo_chains.mcp.server import ToolServer
    from icdpo_chains.mcp.tools import Tools

    server = ToolServer(
        "icdpo",
        instructions=_INSTRUCTIONS,
        log_level="WARNING",
        transport_security=TransportSecuritySettings(
            enable_dns_rebinding_protection=True,
            allowed_hosts=[host for name in _LOOPBACK for host in (name, f"{name}:*")],
            allowed_origins=[f"http://{host}" for name in _LOOPBACK for host in (name, f"{name}:*")],
        ),
    )
    tools = Tools(icdpo if callable(icdpo) else lambda: icdpo, store)
    reads = ToolAnnotations(readOnlyHint=True, openWorldHint=False)
    adds = ToolAnnotations(
        readOnlyHint=False, destructiveHint=False, idempotentHint=True, openWorldHint=False
    )
    offered: list[tuple[Callable[..., Any], str, ToolAnnotations]] = [
        (tools.aligned_answer, "Answer a question", reads),
        (tools.rank_answers, "Rank answers", reads),
        (tools.search_demonstrations, "Search demonstrations", reads),
    ]
    if editable:
        offered.append((tools.add_demonstration, "Add a demonstration", adds))
    for tool, title, hints in offered:
        server.add_tool(
            tool,
            title=title,
            description=inspect.getdoc(tool),
            annotations=hints,
            structured_output=True,
        )
    return server
