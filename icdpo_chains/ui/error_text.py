"""`error_text`: an error in a visitor's words: remedies on the page, not in Python."""

from __future__ import annotations

from icdpo_chains.errors import ContextOverflowError, NoDemonstrationsError, StoreLockedError
from icdpo_chains.ui.form import LONGEST_ANSWER
from icdpo_chains.ui.session import NEW_CHAT

__all__ = ["error_text"]


def error_text(error: Exception) -> str:
    """Returns an error in words, for a visitor of the page."""
    if isinstance(error, StoreLockedError):
        return "another process is writing to the demonstrations: try again in a moment"
    if isinstance(error, ContextOverflowError):
        fault = str(error).partition(": ")[0]
        remedies = f'lower "{LONGEST_ANSWER}" in the tab Settings, or press "{NEW_CHAT}"'
        return f"{fault}: shorten the question, {remedies}"
    if isinstance(error, NoDemonstrationsError):
        fault = str(error).partition(": ")[0].partition(", and ")[0]
        return f"{fault}: add a good answer, or import a file, in the tab Demonstrations"
    return str(error)
