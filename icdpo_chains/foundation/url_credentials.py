"""`has_credentials`: finds passwords and keys in URLs, which errors, files and logs would show."""

from __future__ import annotations

import re

__all__ = ["has_credentials"]

_SECRET_PARAMETER = re.compile(
    r"[&;](?:key|api[_-]?key|token|access_token|password|secret|auth)=", re.IGNORECASE
)


def has_credentials(url: str) -> bool:
    """Returns whether a URL contains a user name, a password, or a key among its parameters."""
    address, _, parameters = url.partition("?")
    scheme = re.match(r"[a-zA-Z][\w+.-]*:/+", address)  # of a mistyped URL, too
    if scheme is None:
        return False
    return (
        "@" in address[scheme.end() :].partition("/")[0]
        or _SECRET_PARAMETER.search(f"&{parameters}") is not None
    )
