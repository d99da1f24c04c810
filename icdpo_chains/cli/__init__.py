"""The `icdpo` command: one file per subcommand in `commands/`; `app.py` assembles them."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command with the process's arguments, and exits."""
    try:
        # Ctrl-C during this import, which takes a moment, ends the command without a traceback too.
        from icdpo_chains.cli import app
    except KeyboardInterrupt:
        sys.exit(130)
    app.main()
