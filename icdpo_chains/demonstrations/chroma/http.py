"""`Server`: a Chroma server, which may be unavailable for a while, such as during a restart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from icdpo_chains.demonstrations.chroma.place import Place
from icdpo_chains.errors import ICDPOError, StoreError, StoreUnavailableError

__all__ = ["Server"]

_REFUSED, _AWAY = (401, 403), (502, 503, 504)
# Chroma sets no timeout: a hanging server would hang us. Listing a million ids takes seconds.
_ANSWER_WITHIN, _CONNECT_WITHIN = 300.0, 10.0


class Server(Place):
    """A Chroma server.

    After the first contact, requests are retried while the server is unavailable: no connection, or 502, 503
    or 504 from a proxy.

    Args:
        host: the server's name or address.
        port: the server's port.
        ssl: use HTTPS.
        headers: sent with each request.
        tenant: an existing tenant.
        database: an existing database of the tenant.
        token: sent with each request, as `Authorization: Bearer`.
        retry_for: how long a request is retried, in seconds; 0 for no retries.

    Raises:
        ValueError: the token can't be in a header, or `retry_for` is not a number from 0.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ssl: bool = False,
        headers: Mapping[str, str] | None = None,
        tenant: str | None = None,
        database: str | None = None,
        token: str | None = None,
        retry_for: float = 30.0,
    ) -> None:
        super().__init__()
        if not 0 <= retry_for < math.inf:
            raise ValueError(f"retry_for is {retry_for}, and must be a number of seconds, 0 or more")
        self._headers = dict(headers or {})
        if token is not None:
            if not token or not token.isascii() or not token.isprintable() or " " in token:
                raise ValueError(
                    "the token must be ASCII without blanks and line breaks: check it, and strip it"
                )
            self._headers["Authorization"] = f"Bearer {token}"
        self._host, self._port, self._ssl = host, port, ssl
        self._tenant, self._database = tenant, database
        self.retry_for = retry_for

    def __str__(self) -> str:
        named = {"tenant": self._tenant, "database": self._database}
        inside = ", ".join(f"{what} {name!r}" for what, name in named.items() if name is not None)
        return f"the Chroma server at {self._host}:{self._port}{f' ({inside})' if inside else ''}"

    def passes(self, error: BaseException) -> bool:
        """Also while the server is unavailable: all our requests are idempotent."""
        return _is_away(error) or super().passes(error)

    def current(self, collection: Any) -> tuple[Any, str]:
        """Asks the server: a killed client may have written without recording the change in the metadata."""
        now = self.request(self._client.get_collection, name=collection.name, embedding_function=None)
        return now, str(self.request(now.count))

    def close(self) -> None:
        """Releases the client and its connections; Chroma leaves connections open."""
        sessions = self._sessions(self._client)
        super().close()
        for session in sessions:
            session.close()

    def _open(self) -> Any:
        import chromadb
        import httpx
        from chromadb.config import DEFAULT_DATABASE, DEFAULT_TENANT
        from chromadb.errors import NotFoundError

        try:
            client = chromadb.HttpClient(
                self._host,
                self._port,
                ssl=self._ssl,
                headers=self._headers,
                tenant=self._tenant or DEFAULT_TENANT,
                database=self._database or DEFAULT_DATABASE,
            )
        except NotFoundError as error:
            raise StoreError(
                f"{self} has no such tenant or database ({error}): create it first (create_tenant, "
                "create_database of chromadb.AdminClient), or give another one"
            ) from error
        except (
            Exception
        ) as error:  # a ValueError without an answer, other errors if it is not a Chroma server
            cause = error.__context__ if isinstance(error, ValueError) else error
            if cause is not None and _is_refusal(cause):
                raise self._explained(cause) from error
            raise StoreUnavailableError(
                f"{self} can't be reached ({_said(error)}): start it (`chroma run --path DIR --port "
                f"{self._port}`), or check its address"
            ) from error
        for session in self._sessions(client):
            session.timeout = httpx.Timeout(_ANSWER_WITHIN, connect=_CONNECT_WITHIN)
        return client

    def _explained(self, error: BaseException) -> ICDPOError:
        if _is_refusal(error):
            return StoreUnavailableError(
                f"{self} refuses access ({_said(error)}): give the right token= or headers="
            )
        if _is_away(error):
            return StoreUnavailableError(
                f"{self} does not answer ({_said(error) or type(error).__name__}; retried for "
                f"{self.retry_for:g} seconds): check that it runs, and try again; adding the same twice "
                "does no harm"
            )
        return super()._explained(error)

    @staticmethod
    def _sessions(client: Any) -> list[Any]:
        """Returns Chroma's HTTP clients, which have no public access."""
        owners = [client, getattr(client, "_admin_client", None)]
        sessions = [getattr(getattr(owner, "_server", None), "_session", None) for owner in owners]
        return [session for session in sessions if session is not None]


def _is_away(error: BaseException) -> bool:
    import httpx

    lost = (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError, httpx.ProxyError)
    return isinstance(error, lost) or _status(error) in _AWAY


def _is_refusal(error: BaseException) -> bool:
    from chromadb.errors import AuthorizationError, ChromaAuthError

    return isinstance(error, (AuthorizationError, ChromaAuthError)) or _status(error) in _REFUSED


def _status(error: BaseException) -> int | None:
    """Returns the status of an answer that Chroma's client did not understand; its context has it."""
    import httpx

    if type(error) is Exception and isinstance(error.__context__, httpx.HTTPStatusError):
        return error.__context__.response.status_code
    return None


def _said(error: BaseException) -> str:
    return f"{' '.join(str(error).split()):.200}"  # a web server may answer with a whole page
