"""`rows_of_document`: the rows inside a JSON document, under a name or by columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from icdpo_chains.demonstrations.files.shapes import asks, fitting, recognized
from icdpo_chains.demonstrations.files.shapes.values import is_message_list

__all__ = ["rows_of_document"]


def rows_of_document(document: Any) -> list[Any] | None:
    """Returns the rows of a document; `None` if the document is a single row.

    Supported are lists of rows under any name (`{"data": [...]}`, `{"train": [...], "test": [...]}`), columns
    of values (`{"prompt": [...], "chosen": [...]}`), and the formats of pandas: columns by index, rows by
    index, and `columns` with `data`.
    """
    if not isinstance(document, Mapping) or not document:
        return None
    columns, data = document.get("columns"), document.get("data")
    if isinstance(columns, list) and isinstance(data, list) and all(isinstance(row, list) for row in data):
        return [dict(zip(map(str, columns), row, strict=False)) for row in data]
    if recognized(document):
        return _by_column(document)
    if all(isinstance(row, Mapping) and recognized(row) for row in document.values()):
        return list(document.values())
    found: list[Any] = []
    for value in document.values():
        if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
            found += () if is_message_list(value) else value
        elif isinstance(value, Mapping):
            found += rows_of_document(value) or ()
    return found or None


def _by_column(document: Mapping[str, Any]) -> list[Any] | None:
    if all(isinstance(value, Mapping) and value for value in document.values()):
        indices = [list(value) for value in document.values()]
        if all(index == indices[0] for index in indices) and all(str(i).isdigit() for i in indices[0]):
            return [{name: value[i] for name, value in document.items()} for i in indices[0]]
    if asks(document):
        return None  # a row with lists
    lists = {name: value for name, value in document.items() if isinstance(value, list)}
    lengths = {len(value) for value in lists.values()}
    # A single row may contain lists of messages; a column of prompts contains texts, or lists of messages.
    if len(lists) < 2 or len(lengths) != 1 or not fitting(map(str, lists)):
        return None
    if any(isinstance(value, Mapping) for column in lists.values() for value in column):
        return None
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
