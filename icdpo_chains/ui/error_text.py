"""`error_text`: an error in a visitor's words: remedies on the page, not in Python."""

from __future__ import annotations

import re

from icdpo_chains.errors import (
    ContextOverflowError,
    MissingRejectedError,
    NoCandidateError,
    NoDemonstrationsError,
    StoreLockedError,
    StoreUnavailableError,
)
from icdpo_chains.ui.form import CANDIDATES, LONGEST_ANSWER, SCORER
from icdpo_chains.ui.session import NEW_CHAT

__all__ = ["error_text"]

_ADVICE = re.compile(r"[.:] (?=allow more |sample more )", re.IGNORECASE)


def error_text(error: Exception) -> str:
    """Returns an error in words, for a visitor of the page."""
    if isinstance(error, StoreLockedError):
        return "another process is writing to the demonstrations: try again in a moment"
    if isinstance(error, StoreUnavailableError) and str(error).startswith("there is no store"):
        fault = str(error).rpartition(": create one")[0]
        remedy = "The person who runs the server can put it back"
        return f"{fault}: it was moved or removed since the server started. {remedy}"
    if isinstance(error, ContextOverflowError):
        fault = str(error).partition(": ")[0]
        remedies = f'lower "{LONGEST_ANSWER}" in the tab Settings, or press "{NEW_CHAT}"'
        return f"{fault}: shorten the question, {remedies}"
    if isinstance(error, NoDemonstrationsError):
        fault = str(error).partition(": ")[0].partition(", and ")[0]
        return f"{fault}: add a good answer, or import a file, in the tab Demonstrations"
    if isinstance(error, MissingRejectedError):
        return (
            "the score compares with rejected answers, and none of the demonstrations for this question has "
            f'one: choose "auto" as the {SCORER} in the tab Settings, or add a rejected answer in the tab '
            "Demonstrations"
        )
    if isinstance(error, NoCandidateError):
        fault = _ADVICE.split(str(error), maxsplit=1)[0]
        return f'{fault}. In the tab Settings, raise "{CANDIDATES}" or "{LONGEST_ANSWER}"'
    return str(error)
