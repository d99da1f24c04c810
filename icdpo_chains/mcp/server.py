"""`ToolServer`: FastMCP with our version, and plain errors for unknown and invalid arguments."""

from __future__ import annotations

from typing import Any

from mcp.server.fastmcp import FastMCP
from mcp.server.fastmcp.exceptions import ToolError
from mcp.types import Tool
from pydantic import ValidationError

from icdpo_chains import __version__

__all__ = ["ToolServer"]


class ToolServer(FastMCP):
    """A FastMCP server; takes its arguments."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._mcp_server.version = __version__  # by default the SDK's

    async def list_tools(self) -> list[Tool]:
        """Returns the tools; their schemas allow no unknown arguments."""
        tools = await super().list_tools()
        for tool in tools:
            tool.inputSchema = {**tool.inputSchema, "additionalProperties": False}
        return tools

    async def call_tool(self, name: str, arguments: dict[str, Any]) -> Any:
        """Calls a tool.

        Raises:
            ToolError: the tool or an argument is unknown: the message names the known ones; an argument is
                invalid: the message names argument, limit and value; or the tool fails.
        """
        takes = {tool.name: tool.inputSchema.get("properties", {}) for tool in await self.list_tools()}
        if name not in takes:
            raise ToolError(f"there is no tool {name!r:.60}: the tools are {', '.join(takes)}")
        unknown = [f"{argument!r:.60}" for argument in arguments if argument not in takes[name]]
        if unknown:  # the SDK ignores them
            raise ToolError(
                f"there is no argument {', '.join(unknown[:5])}: {name} takes {', '.join(takes[name])}"
            )
        try:
            return await super().call_tool(name, arguments)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(_plain(error.__cause__)) from None
            raise


def _plain(error: ValidationError) -> str:
    faults = []
    for item in error.errors(include_url=False):
        argument = ".".join(map(str, item["loc"]))
        value = "" if item["type"] == "missing" else f", and the value is {item['input']!r:.60}"
        faults.append(f"{argument}: {item['msg']}{value}")
    return f"invalid arguments: {'; '.join(faults)}"
