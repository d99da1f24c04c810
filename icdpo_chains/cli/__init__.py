"""The `icdpo` command: one file per subcommand in `commands/`; `app.py` assembles them."""

from __future__ import annotations

from icdpo_chains.cli.app import main

__all__ = ["main"]
