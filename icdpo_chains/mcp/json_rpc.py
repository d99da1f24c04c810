"""`refusal_of`: the answer to a text that is no message of the protocol."""

from __future__ import annotations

import json
from typing import Any

from mcp.types import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError, JSONRPCMessage
from pydantic import ValidationError

__all__ = ["refusal_of"]

_NOBODY = "server-error"
"""The SDK's id for errors that answer no request."""


def refusal_of(text: str | bytes) -> JSONRPCError | None:
    """Returns the error that answers a text; `None` if the SDK reads it as a message.

    The SDK answers such texts with the text of its validation library, or not at all.

    Args:
        text: a line of standard input, with surrogates in place of bytes that are not UTF-8; or the body of
            a request.
    """
    try:
        if isinstance(text, str):
            text.encode()
        value = json.loads(text)
        fault = _fault(value)
        if fault is None:
            # Each transport of the SDK has its parser.
            if isinstance(text, str):
                JSONRPCMessage.model_validate_json(text)
            else:
                JSONRPCMessage.model_validate(value)
    except json.JSONDecodeError as error:
        return _error(PARSE_ERROR, f"the message is not JSON ({error})")
    except UnicodeError:
        return _error(PARSE_ERROR, "the message is not UTF-8")
    except RecursionError:
        return _error(PARSE_ERROR, "the message is nested too deeply")
    except ValidationError as error:
        kind = error.errors(include_url=False)[0]
        fault = kind["msg"] if kind["type"] == "json_invalid" else "this is no message of JSON-RPC 2.0"
    except ValueError as error:  # a number with thousands of digits
        return _error(PARSE_ERROR, f"the message can't be read ({error})")
    return None if fault is None else _error(INVALID_REQUEST, fault, value)


def _fault(value: Any) -> str | None:
    if isinstance(value, list):
        return "this is a list: send each message by itself, as a JSON object"
    if not isinstance(value, dict):
        return f"the message is {_shown(value)}: send a JSON object"
    if value.get("jsonrpc") != "2.0":
        return f'"jsonrpc" is {_shown(value.get("jsonrpc"))}, and must be "2.0"'
    if "id" in value and not _is_id(value["id"]):  # the SDK takes the request for a notification
        return f'"id" is {_shown(value["id"])}, and must be a string or a whole number'
    if "method" in value:
        if not isinstance(value["method"], str):
            return f'"method" is {_shown(value["method"])}, and must be a string'
        if not isinstance(value.get("params"), dict | None):
            return f'"params" is {_shown(value["params"])}, and must be an object'
    elif not value.keys() & {"result", "error"}:
        return 'the message has no "method"'
    return None


def _is_id(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return f"{json.dumps(value):.60}"


def _error(code: int, fault: str, value: Any = None) -> JSONRPCError:
    asked = isinstance(value, dict) and "method" in value and _is_id(value.get("id"))
    return JSONRPCError(
        jsonrpc="2.0", id=value["id"] if asked else _NOBODY, error=ErrorData(code=code, message=fault)
    )
