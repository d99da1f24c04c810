"""Chats in which one message is rated: `open_webui` and `gradio_chat`; `nova` for candidates in a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from icdpo_chains.demonstrations.files.shapes.dialogue import value_of
from icdpo_chains.demonstrations.files.shapes.row import Row
from icdpo_chains.errors import DemonstrationError

__all__ = ["gradio_chat", "nova", "open_webui"]

Flat = dict[str, Any]


def open_webui(row: Row) -> Flat | None:
    """Flattens a feedback of Open WebUI: the rated message and the messages before it."""
    data, meta, snapshot = row.peek("data"), row.peek("meta"), row.peek("snapshot")
    if not isinstance(data, Mapping) or not isinstance(meta, Mapping) or not row.has("snapshot"):
        return None
    chat: Any = snapshot
    while isinstance(chat, Mapping) and isinstance(chat.get("chat"), Mapping):
        chat = chat["chat"]
    history = chat.get("history") if isinstance(chat, Mapping) else None
    messages = history.get("messages") if isinstance(history, Mapping) else None
    rated = meta.get("message_id")
    if isinstance(messages, Mapping):
        path = _path(messages, rated)
    elif isinstance(messages, list):
        ids = [message.get("id") if isinstance(message, Mapping) else None for message in messages]
        path = messages[: ids.index(rated) + 1] if rated in ids else []
    else:
        path = []
    if not path:
        raise DemonstrationError(f"the chat of the feedback lacks the rated message {rated!r:.40}")
    named = {name: data.get(name) for name in ("model_id", "reason", "comment") if data.get(name)}
    return {**named, "messages": [_turn(message) for message in path], "thumbs": data.get("rating")}


def gradio_chat(row: Row) -> Flat | None:
    """Flattens a line of Gradio's log of chats: the flagged message and the messages before it."""
    if not all(row.has(name) for name in ("conversation", "index", "value", "flag")):
        return None
    conversation, index = _opened(row.peek("conversation")), _opened(row.peek("index"))
    side: Any = None
    if isinstance(index, list) and len(index) == 2:
        index, side = index
    try:
        position = int(index)
        messages = list(conversation)
        if side is not None:  # pairs of a question and its answer
            position = 2 * position + int(side)
            messages = [
                {"role": role, "content": text}
                for pair in messages
                for role, text in zip(("user", "assistant"), pair, strict=True)
            ]
        flagged = messages[position]["content"] if position >= 0 else None
    except (TypeError, ValueError, OverflowError, IndexError, KeyError):
        raise DemonstrationError("the conversation has no message at the position in 'index'") from None
    value = row.peek("value")
    if isinstance(flagged, str) and isinstance(value, str) and flagged.strip() != value.strip():
        raise DemonstrationError(
            f"the flagged message {value!r:.40} is not the one at the position {index} of the conversation"
        )
    names = {normal: row.peek(normal) for normal in ("username", "timestamp") if row.peek(normal)}
    return {**names, "messages": messages[: position + 1], "flag": row.peek("flag")}


def nova(row: Row) -> Flat | None:
    """Flattens Amazon Nova's preferences: a last message with two labelled candidates."""
    messages = row.peek("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    candidates = last.get("candidates") if isinstance(last, Mapping) else None
    if not isinstance(candidates, list):
        return None
    labels = {"preferred": "chosen", "non-preferred": "rejected"}
    sides: Flat = {}
    for candidate in candidates:
        side = labels.get(str(candidate.get("preferenceLabel")) if isinstance(candidate, Mapping) else "")
        if side is None or side in sides:
            raise DemonstrationError("the candidates are not one 'preferred' and one 'non-preferred'")
        sides[side] = {"role": "assistant", "content": candidate.get("content")}
    rest = {name: value for name, value in row.values.items() if name != "messages"}
    return {**rest, "messages": messages[:-1] if isinstance(messages, list) else [], **sides}


def _path(messages: Mapping[str, Any], rated: Any) -> list[Any]:
    """The rated message and those before it, from the first one on."""
    path: list[Any] = []
    seen: set[Any] = set()
    while rated is not None:
        message = messages.get(rated) if isinstance(rated, str) else None
        if not isinstance(message, Mapping) or rated in seen:
            return []
        seen.add(rated)
        path.append(message)
        rated = message.get("parentId")
    return path[::-1]


def _turn(message: Any) -> Any:
    keys = ("role", "content")
    return {key: message.get(key) for key in keys} if isinstance(message, Mapping) else message


def _opened(value: Any) -> Any:
    parsed = value_of(value) if isinstance(value, str) else None
    return value if parsed is None else parsed
