"""Preference files: `read_demonstrations`, a reader a format, and the shapes that a row may have."""

from icdpo_chains.demonstrations.files.read import RefusedRow, read_demonstrations
from icdpo_chains.demonstrations.files.report import ReadReport

__all__ = ["ReadReport", "RefusedRow", "read_demonstrations"]
