"""`ToolServer`: FastMCP with our version, and plain errors for invalid arguments."""

from __future__ import annotations

from typing import Any

from mcp.server.fastmcp import FastMCP
from mcp.server.fastmcp.exceptions import ToolError
from pydantic import ValidationError

from icdpo_chains import __version__

__all__ = ["ToolServer"]


class ToolServer(FastMCP):
    """A FastMCP server; takes its arguments."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._mcp_server.version = __version__  # by default the SDK's

    async def call_tool(self, name: str, arguments: dict[str, Any]) -> Any:
        """Calls a tool.

        Raises:
            ToolError: an argument is invalid: the message names argument, limit and value; or the tool fails.
        """
        try:
            return await super().call_tool(name, arguments)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(_plain(error.__cause__)) from None
            raise


def _plain(error: ValidationError) -> str:
    faults = (
        f"{'.'.join(map(str, item['loc']))}: {item['msg']}, and the value is {item['input']!r:.60}"
        for item in error.errors(include_url=False)
    )
    return f"invalid arguments: {'; '.join(faults)}"
