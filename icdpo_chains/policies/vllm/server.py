"""`VLLMServer`: the HTTP side of `VLLMPolicy`: many requests at once, retries, errors, cancellation."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import CancelledError, wait
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential, wait_random

from icdpo_chains.errors import PolicyError, PolicyUnavailableError
from icdpo_chains.foundation.concurrency import cancellation
from icdpo_chains.policies.vllm.connection import Connection

__all__ = ["VLLMServer"]

_TRANSIENT = frozenset({429, 500, 502, 503, 504})
_BACKOFF = wait_exponential(multiplier=0.25, max=8) + wait_random(0, 0.25)
_LOOK_EVERY = 0.05  # seconds between two looks at `cancellation`


class VLLMServer:
    """A client of a vLLM server for any thread. Its event loop, in a thread, starts with the first request.

    A request is retried after growing pauses if the connection is lost or the server answers with 429, 500,
    502, 503 or 504. Requests have no side effects on the server, so retries are safe.

    Args:
        base_url: the server's address, such as `http://localhost:8000`, with or without `/v1`.
        api_key: the server's API key, if it has one.
        timeout: the longest time for one answer, in seconds.
        max_in_flight: the maximum number of concurrent requests; others wait in this process.
        retry_for: how long a request is retried after its first failure, in seconds.
        transport: replaces the network in tests.
        sleep: replaces `asyncio.sleep` in tests.
        clock: replaces `time.monotonic` in tests.

    Raises:
        ValueError: an argument is invalid.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        timeout: float = 600.0,
        max_in_flight: int = 64,
        retry_for: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        root = _root(base_url)
        # Neither errors nor httpx's log may show a password.
        self._auth = (root.username, root.password) if root.userinfo else None
        self._root = root.copy_with(userinfo=b"")
        self.url = str(self._root).rstrip("/")
        self._headers = {"Authorization": f"Bearer {_checked_key(api_key)}"} if api_key else {}
        if timeout <= 0 or retry_for < 0 or max_in_flight < 1:
            raise ValueError(
                f"timeout is {timeout}, retry_for {retry_for} and max_in_flight {max_in_flight}: they must "
                "be above 0, at least 0 and at least 1"
            )
        self._timeout, self._retry_for, self._max_in_flight = timeout, retry_for, max_in_flight
        self._transport, self._sleep, self._clock = transport, sleep, clock
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._end: Callable[[], object] = lambda: None  # closes the connection, also at exit

    def ask(
        self, path: str, bodies: Sequence[Mapping[str, Any] | None], *, retry_for: float | None = None
    ) -> list[Any]:
        """Makes concurrent requests and returns the JSON of their answers.

        Args:
            path: the path under the server's root, such as `v1/completions`.
            bodies: the bodies to post; `None` for a GET.
            retry_for: replaces the instance's value.

        Raises:
            CancelledError: the event in `cancellation` was set, or another thread called `close`. The
                requests' connections are closed, and vLLM drops the requests.
            PolicyError: the server refuses a request; the other requests are cancelled.
            PolicyUnavailableError: the server can't be reached or does not answer in time.
        """
        if not bodies:
            return []
        connection = self._open()
        cancelled = cancellation.get()
        answers = connection.submit(
            self._all(connection, path, bodies, self._retry_for if retry_for is None else retry_for)
        )
        try:
            while not wait([answers], _LOOK_EVERY).done:
                if not connection.usable or (cancelled is not None and cancelled.is_set()):
                    raise CancelledError
        except BaseException:  # Ctrl-C as well
            answers.cancel()
            raise
        return answers.result()

    def close(self) -> None:
        """Cancels the running requests and closes the connections; a later request opens them again."""
        with self._lock:
            self._connection = None
            self._end()

    def _open(self) -> Connection:
        connection = self._connection
        if connection is not None and connection.usable:
            return connection
        with self._lock:
            if self._connection is None or not self._connection.usable:
                timeout = httpx.Timeout(self._timeout, connect=10.0, pool=None)
                limits = httpx.Limits(max_connections=None, max_keepalive_connections=self._max_in_flight)
                client = httpx.AsyncClient(
                    headers=self._headers,
                    auth=self._auth,
                    timeout=timeout,
                    limits=limits,
                    transport=self._transport,
                )
                self._connection = Connection(client, self._max_in_flight)
                self._end = weakref.finalize(self, self._connection.close)
            return self._connection

    async def _all(
        self,
        connection: Connection,
        path: str,
        bodies: Sequence[Mapping[str, Any] | None],
        retry_for: float,
    ) -> list[Any]:
        tasks = [asyncio.ensure_future(self._answer(connection, path, body, retry_for)) for body in bodies]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:  # the tasks next to a failed one
                task.cancel()

    async def _answer(
        self, connection: Connection, path: str, body: Mapping[str, Any] | None, retry_for: float
    ) -> Any:
        patience = _Patience(retry_for, self._clock)
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_TransientError),
            wait=patience.pause,
            stop=patience.ended,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return await retrying(self._once, connection, path, body)
        except _TransientError as error:
            raise PolicyUnavailableError(
                f"the vLLM server at {self.url} is unavailable after {retry_for:g} s of retries: "
                f"{error}. Check that it runs and is not overloaded, and check its address"
            ) from error

    async def _once(self, connection: Connection, path: str, body: Mapping[str, Any] | None) -> Any:
        url = f"{self.url}/{path}"
        async with connection.slots:
            try:
                response = await connection.client.request("GET" if body is None else "POST", url, json=body)
            except httpx.ReadTimeout as error:  # not retried: the retry would wait behind the first request
                raise PolicyUnavailableError(
                    f"the vLLM server at {self.url} has not answered within {self._timeout:g} s: it is stuck "
                    "or overloaded; check it, send fewer requests at a time, or set a longer timeout"
                ) from error
            except httpx.RequestError as error:
                raise _TransientError(str(error) or type(error).__name__) from error
        if response.status_code in _TRANSIENT:
            raise _TransientError(f"it answers {_said(response)}", _retry_after(response))
        if response.status_code in (401, 403):
            raise PolicyError(
                f"the vLLM server at {self.url} refuses the API key ({_said(response)}): give the server's "
                "key as api_key, or in the environment variable VLLM_API_KEY"
            )
        if not response.is_success:
            hint = "; is this a vLLM server, with this model?" if response.status_code == 404 else ""
            raise PolicyError(f"the vLLM server refuses a request to {url}: {_said(response)}{hint}")
        try:
            return response.json()
        except ValueError:
            raise PolicyError(
                f"{url} does not answer with JSON: check that a vLLM server runs there"
            ) from None


class _TransientError(Exception):
    """A failure that a retry may resolve."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass
class _Patience:
    """The retries of one request: their duration and pauses, counted from its first failure."""

    seconds: float
    clock: Callable[[], float]
    end: float | None = None

    def pause(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked = getattr(error, "retry_after", None)
        return max(0.0, min(_BACKOFF(state) if asked is None else asked, self._left()))

    def ended(self, _: RetryCallState) -> bool:
        return self._left() <= 0

    def _left(self) -> float:
        now = self.clock()
        if self.end is None:
            self.end = now + self.seconds
        return self.end - now


def _root(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url.strip())
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        # Not repeated in the message: an unreadable URL may contain a password.
        raise ValueError("the vLLM server's base_url can't be read: it must look like http://localhost:8000")
    path = url.path.rstrip("/").removesuffix("/v1")
    return url.copy_with(path=path or "/", query=None, fragment=None)


def _checked_key(api_key: str) -> str:
    key = api_key.strip()
    if not key.isascii() or not key.isprintable():
        raise ValueError("the API key contains characters that an HTTP header can't hold: check the key")
    return key


def _said(response: httpx.Response) -> str:
    """Returns the status and the server's message in one line of bounded length."""
    words: Any = response.text
    try:
        words = response.json()
        words = words["error"]
        words = words["message"]
    except (ValueError, KeyError, TypeError):
        pass
    return f"{response.status_code} {' '.join(str(words).split())[:400]}".strip().rstrip(".")


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
