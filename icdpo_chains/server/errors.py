"""Every error as OpenAI's clients expect it: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from icdpo_chains import errors

__all__ = ["APIError", "ASCIIResponse", "ErrorBody", "as_api_error", "documented", "endpoints_of", "install"]

_PLACE = re.compile(r"\w+")

_log = logging.getLogger(__name__)

_LATER = {"Retry-After": "1"}
# Status and code; subclasses come before their base classes.
_KINDS: tuple[tuple[type[errors.ICDPOError], int, str | None], ...] = (
    (errors.ContextOverflowError, 400, "context_length_exceeded"),
    (errors.InvalidInputError, 400, None),
    (errors.DemonstrationError, 400, None),
    (errors.PromptError, 400, None),
    (errors.NoDemonstrationsError, 422, "no_demonstrations"),
    (errors.MissingRejectedError, 422, "missing_rejected"),
    (errors.NoCandidateError, 422, "no_candidate"),
    (errors.QueueFullError, 429, "queue_full"),
    (errors.PolicyUnavailableError, 503, "model_unavailable"),
    (errors.PolicyMemoryError, 503, "out_of_memory"),
    (errors.StoreLockedError, 503, "store_unavailable"),
    (errors.StoreUnavailableError, 503, "store_unavailable"),
)
# Errors that only the operator can fix may name paths and addresses: the log has them; clients get this.
_PUBLIC = {
    "model_unavailable": "the model's server does not answer: try again later",
    "out_of_memory": "the server's memory can't hold this answer: lower max_tokens, or shorten the messages",
    "store_unavailable": "the demonstration store can't be used at the moment: try again later",
}
_MEANINGS = {
    400: "The request is invalid.",
    401: "The API key is missing or wrong.",
    403: "Not allowed on this server.",
    404: "There is no such model or demonstration.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    422: "Nothing to answer with: no demonstrations, or no candidate that can be scored.",
    429: "Too many questions wait already.",
    500: "An error of the server.",
    503: "The model or the store can't be used at the moment, or the server is shutting down.",
    504: "The answer took too long.",
}


class _Error(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of each error response."""

    error: _Error


class ASCIIResponse(JSONResponse):
    """JSON in ASCII, so that no text can make a response fail (a lone surrogate has no UTF-8)."""

    def render(self, content: Any) -> bytes:
        """Returns the body."""
        return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


class APIError(Exception):
    """An error for the client.

    Args:
        status: the HTTP status.
        message: the fault and the remedy.
        code: a short name for programs.
        param: the faulty field of the request.
        headers: further headers of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param
        self.headers = {**(_LATER if status in (429, 503) else {}), **(headers or {})}

    def body(self) -> dict[str, Any]:
        """Returns the response's body."""
        kind = "invalid_request_error"
        if self.status >= 500:
            kind = "server_error"
        elif self.status == 401:
            kind = "authentication_error"
        elif self.status == 429:
            kind = "rate_limit_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> ASCIIResponse:
        """Returns the response."""
        return ASCIIResponse(self.body(), self.status, self.headers)


def as_api_error(error: BaseException) -> APIError:
    """Returns the client's view of an error.

    The caller logs the rest, such as a traceback.
    """
    if isinstance(error, APIError):
        return error
    for kind, status, code in _KINDS:
        if isinstance(error, kind):
            return APIError(status, _PUBLIC.get(code or "", str(error)), code=code)
    return APIError(500, "the server failed; its log has the details", code="internal_error")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns OpenAPI's description of these errors and of the errors of all endpoints."""
    return {
        status: {"model": ErrorBody, "description": _MEANINGS[status]}
        for status in sorted({400, 401, 403, 413, 500, *statuses})
    }


def endpoints_of(app: FastAPI) -> list[str]:
    """Returns the paths of an application's endpoints."""
    return [*app.openapi()["paths"], "/openapi.json"]


def install(app: FastAPI) -> None:
    """Gives all errors of an application the same form."""

    async def known(request: Request, error: Exception) -> ASCIIResponse:
        shown = as_api_error(error)
        if isinstance(error, APIError):  # our own refusal: a traceback would add nothing
            _log.info("%s %s: %s", request.method, request.scope["path"], shown.code)
        elif shown.status >= 500:
            _log.error("%s %s: %s", request.method, request.scope["path"], shown.code, exc_info=error)
        return shown.response()

    async def unknown(request: Request, error: Exception) -> ASCIIResponse:
        return as_api_error(error).response()  # Starlette raises it again, and the server logs it

    async def http(request: Request, error: Exception) -> ASCIIResponse:
        assert isinstance(error, HTTPException)  # noqa: S101
        if error.status_code == 404 and error.detail == "Not Found":
            known = ", ".join(endpoints_of(app))
            return APIError(
                404, f"there is no such endpoint: use one of {known}", code="not_found"
            ).response()
        detail, headers = str(error.detail), error.headers
        methods = app.openapi()["paths"].get(getattr(request.scope.get("route"), "path", None))
        if error.status_code == 405 and methods:  # Starlette names the methods of one route only
            allowed = ", ".join(sorted(method.upper() for method in methods))
            detail = f"the endpoint does not answer {request.method:.20}: use {allowed}"
            headers = {"Allow": allowed}
        return APIError(error.status_code, detail, headers=headers).response()

    async def invalid(request: Request, error: Exception) -> ASCIIResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return _invalid(error).response()

    app.add_exception_handler(APIError, known)
    app.add_exception_handler(errors.ICDPOError, known)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unknown)


def _invalid(error: RequestValidationError) -> APIError:
    parts, fields = [], []
    for item in error.errors()[:5]:
        # Without pydantic's names for the members of a union.
        places = [str(place) for place in item["loc"][1:]]
        field = ".".join(place for place in places if place != "str" and _PLACE.fullmatch(place))
        reason, value = str(item["msg"]).removeprefix("Value error, "), item.get("input")
        if item["type"] in ("model_attributes_type", "model_type", "dict_type"):
            reason = "must be a JSON object" if field else "the body must be a JSON object"
        if item["type"] == "json_invalid":
            field, reason = "", f"the body is not JSON: {item['ctx']['error']} at character {item['loc'][1]}"
        elif item["type"] == "missing" and item["loc"] == ("body",):
            reason = "the body is missing: send JSON"
        elif item["type"] == "too_long" and item["ctx"]["max_length"] == 0:
            reason = "not supported here: leave it out"
        elif value is None or isinstance(value, (bool, int, float, str)):
            reason += f" (it is {value!r:.80})" if item["type"] != "missing" else ""
        fields.append(field)
        parts.append(f"{field}: {reason}" if field else reason)
    return APIError(400, "; ".join(parts), param=fields[0] or None)
