"""Preference files: `read_demonstrations`, one reader for each format, and the shapes of rows."""

from icdpo_chains.demonstrations.files.read import RefusedRow, read_demonstrations
from icdpo_chains.demonstrations.files.report import ReadReport

__all__ = ["ReadReport", "RefusedRow", "read_demonstrations"]
