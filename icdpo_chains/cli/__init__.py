"""The `icdpo` command: one file for each subcommand, `app.py` puts them together."""

from __future__ import annotations

from icdpo_chains.cli.app import main

__all__ = ["main"]
