"""`Server`: a Chroma server, which may be away for a while, as when it is started again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from icdpo_chains.demonstrations.chroma.place import Place
from icdpo_chains.errors import ICDPOError, StoreError, StoreUnavailableError

__all__ = ["Server"]

_REFUSED, _AWAY = (401, 403), (502, 503, 504)
# Chroma sets none, so that a server that hangs would hang us. Listing a million ids takes it seconds.
_ANSWER_WITHIN, _CONNECT_WITHIN = 300.0, 10.0


class Server(Place):
    """A Chroma server.

    Once it was reached, a request is made again while the server is away: no connection, or 502, 503 or 504
    from what stands before it.

    Args:
        host: its name or address.
        port: its port.
        ssl: whether it speaks HTTPS.
        headers: sent with each request.
        tenant: a tenant that it has.
        database: a database of that tenant.
        token: sent with each request, as `Authorization: Bearer`.
        retry_for: seconds for which a request is made again; 0 to make each once.

    Raises:
        ValueError: a token that no header can carry, or `retry_for` is no number from 0.
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
                    "the token must be ASCII without blanks and line breaks: read it anew, and strip it"
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
        """Also where the server is away: each of our requests does the same when it is made twice."""
        return _is_away(error) or super().passes(error)

    def current(self, collection: Any) -> tuple[Any, str]:
        """Asks the server; a client that is killed may have written, and not recorded it in the metadata."""
        now = self.request(self._client.get_collection, name=collection.name, embedding_function=None)
        return now, str(self.request(now.count))

    def close(self) -> None:
        """Releases the client and its connections, which Chroma leaves open."""
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
                "create_database of chromadb.AdminClient), or name another one"
            ) from error
        except Exception as error:  # a ValueError if nobody answers, others if it is no Chroma server
            cause = error.__context__ if isinstance(error, ValueError) else error
            if cause is not None and _is_refusal(cause):
                raise self._explained(cause) from error
            raise StoreUnavailableError(
                f"{self} is not reached ({_said(error)}): start it (`chroma run --path DIR --port "
                f"{self._port}`), or check its address"
            ) from error
        for session in self._sessions(client):
            session.timeout = httpx.Timeout(_ANSWER_WITHIN, connect=_CONNECT_WITHIN)
        return client

    def _explained(self, error: BaseException) -> ICDPOError:
        if _is_refusal(error):
            return StoreUnavailableError(
                f"{self} refuses us ({_said(error)}): give it the right token= or headers="
            )
        if _is_away(error):
            return StoreUnavailableError(
                f"{self} does not answer ({_said(error) or type(error).__name__}; it was asked for "
                f"{self.retry_for:g} seconds): look whether it runs, and try again; adding the same twice "
                "does no harm"
            )
        return super()._explained(error)

    @staticmethod
    def _sessions(client: Any) -> list[Any]:
        """Returns Chroma's HTTP clients, which it does not offer."""
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
    """Returns the status of an answer that Chroma's client did not understand; it only keeps it here."""
    import httpx

    if type(error) is Exception and isinstance(error.__context__, httpx.HTTPStatusError):
        return error.__context__.response.status_code
    return None


def _said(error: BaseException) -> str:
    return f"{' '.join(str(error).split()):.200}"  # a web server answers with a whole page
