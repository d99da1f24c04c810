"""`TextLines`: the lines of a text file; a bad line affects no other line."""

from __future__ import annotations

import codecs
import re

from icdpo_chains.demonstrations.files.byte_source import ByteSource
from icdpo_chains.errors import DemonstrationError

__all__ = ["MAX_ROW", "TextLines", "check_utf8"]

MAX_ROW = 1 << 24
"""The largest row of text: a missing quote or line end must not load a whole file into memory."""

_CHUNK = 1 << 16
_UNDECODED = re.compile("[\udc80-\udcff]")


class TextLines:
    """Iterates over the physical lines of a text file, with their line ends.

    Invalid UTF-8 becomes lone surrogates (`surrogateescape`), which `check_utf8` finds, so that a reader can
    refuse the row and not the file.

    Attributes:
        number: the number of the last line, from 1, including lines that were too long.
        complete: whether the last line had a line end.

    Raises:
        DemonstrationError: a line is longer than `MAX_ROW`; iteration can continue with the next line.
    """

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self.number = 0
        self.complete = True

    def __iter__(self) -> TextLines:
        return self

    def __next__(self) -> str:
        line = self._source.readline(MAX_ROW + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > MAX_ROW:
            while line and not line.endswith(b"\n"):
                line = self._source.readline(_CHUNK)
            self.complete = line.endswith(b"\n")
            raise DemonstrationError(f"the line is longer than {MAX_ROW:,} bytes: a line end is missing")
        self.complete = line.endswith(b"\n")
        if self.number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        return line.decode("utf-8", "surrogateescape")


def check_utf8(text: str) -> None:
    """Checks text decoded with `surrogateescape`.

    Raises:
        DemonstrationError: the text contains a byte that is not UTF-8.
    """
    found = _UNDECODED.search(text)
    if found:
        byte = ord(found[0]) - 0xDC00
        raise DemonstrationError(
            f"the byte 0x{byte:02x} at character {found.start()} is not UTF-8: save the file as UTF-8"
        )
