"""`ByteSource`: a file's bytes, decompressed during reading; text as UTF-8."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

__all__ = ["ByteSource", "as_utf8"]

_BUFFER = 1 << 16
_BOMB_BYTES, _BOMB_RATIO = 1 << 28, 200
"""Above this size, data that unpack to more than this multiple of their size are refused as a bomb."""

_DAMAGE = (zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile, OSError, ValueError)
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


def _zstd(file: IO[bytes]) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")


_FORMATS: tuple[tuple[bytes, str, Callable[[IO[bytes]], Any]], ...] = (
    (b"\x1f\x8b", "gzip", lambda file: gzip.GzipFile(fileobj=file, mode="rb")),
    (b"\xfd7zXZ\x00", "xz", lzma.LZMAFile),
    (b"BZh", "bzip2", bz2.BZ2File),
    (b"\x28\xb5\x2f\xfd", "zstd", _zstd),
)


class ByteSource(io.BufferedReader):
    """A file's bytes. The first bytes, not the name, decide about gzip, xz, bzip2 or zstd.

    A truncated or damaged stream ends like a file: the part before the damage is read first, and then
    `broken` has the reason. A reader therefore loses nothing before the damage.

    Args:
        file: a path, or an open binary file, which this object closes.
        size: the size in bytes, for an open file of unknown size.

    Raises:
        OSError: the file can't be opened or read (also `FileNotFoundError` and `PermissionError`).
    """

    def __init__(self, file: Path | IO[bytes], *, size: int | None = None) -> None:
        if isinstance(file, Path):
            opened = file.open("rb")
            self._unpacked: _Unpacked | _Transcoded = _Unpacked(opened, os.fstat(opened.fileno()).st_size)
        elif isinstance(file, _Transcoded):
            self._unpacked = file
        else:
            self._unpacked = _Unpacked(io.BufferedReader(file), size)  # type: ignore[arg-type]
        super().__init__(self._unpacked, _BUFFER)

    @property
    def broken(self) -> str | None:
        """The reason of an early end, or `None`; known after the end."""
        return self._unpacked.broken

    @property
    def plain_file(self) -> IO[bytes] | None:
        """The file itself, which can seek, or `None` if it is compressed; valid before the first read."""
        return self._unpacked.plain_file


def as_utf8(source: ByteSource, *, table: bool) -> tuple[ByteSource, str | None]:
    """Returns a text file's bytes as UTF-8, and the original encoding if it was different.

    UTF-16 and UTF-32 are detected by their mark, UTF-16 also by its zeros. A table (CSV) without any valid
    UTF-8 beyond ASCII is read as Windows-1252, Excel's encoding.
    """
    head = source.peek(_BUFFER)
    encoding = _encoding(head, table)
    if encoding is None:
        return source, None
    return ByteSource(_Transcoded(source, encoding)), encoding  # type: ignore[arg-type]


def _encoding(head: bytes, table: bool) -> str | None:
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    pairs = max(len(head) // 2, 1)
    even, odd = head[::2].count(0), head[1::2].count(0)
    if odd > pairs // 20 and odd > 10 * even:
        return "utf-16-le"
    if even > pairs // 20 and even > 10 * odd:
        return "utf-16-be"
    if table and not head.isascii() and not _MULTIBYTE.search(head):
        try:
            head.decode("cp1252")
        except UnicodeDecodeError:
            return None
        return "cp1252"
    return None


class _Unpacked(io.RawIOBase):
    def __init__(self, file: io.BufferedReader, size: int | None) -> None:
        self.broken: str | None = None
        self._file = file
        self._stream: Any = file
        self._kind = "zip"
        self._size, self._given = size, 0
        try:
            head = file.peek(8)
            for magic, kind, opened in _FORMATS:
                if head.startswith(magic):
                    self._kind, self._stream = kind, opened(file)
        except BaseException:
            file.close()
            raise

    @property
    def plain_file(self) -> IO[bytes] | None:
        return self._file if self._stream is self._file and self._file.seekable() else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.broken:
            return 0
        try:
            # At most one read: a longer one would lose its data at the damage.
            read = getattr(self._stream, "read1", self._stream.read)
            data: bytes = read(len(buffer))
        except EOFError:
            self.broken = f"the {self._kind} stream is truncated here: copy or download the file again"
            return 0
        except _DAMAGE as error:
            if self._stream is self._file and isinstance(error, OSError):
                raise
            self.broken = (
                f"the {self._kind} stream is damaged here ({error}): copy or download the file again"
            )
            return 0
        self._given += len(data)
        if self._size is not None and self._given > max(_BOMB_BYTES, _BOMB_RATIO * self._size):
            self.broken = (
                f"the {self._kind} stream unpacks to more than {_BOMB_RATIO} times its size: unpack the file "
                "first if that is right"
            )
            return 0
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        try:
            if self._stream is not self._file:
                self._stream.close()
            self._file.close()
        finally:
            super().close()


class _Transcoded(io.RawIOBase):
    """Text of another encoding as UTF-8; a lone surrogate becomes invalid UTF-8, which readers detect."""

    plain_file = None

    def __init__(self, source: ByteSource, encoding: str) -> None:
        self._source, self._encoding = source, encoding
        errors = "surrogatepass" if encoding.startswith("utf") else "strict"
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)
        self._waiting = b""
        self._damage: str | None = None

    @property
    def broken(self) -> str | None:
        return self._damage or self._source.broken

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._waiting and not self._damage:
            data = self._source.read1(_BUFFER)
            try:
                text = self._decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                self._damage = (
                    f"the text is not {self._encoding} from here on ({error.reason}): save it as UTF-8"
                )
                break
            self._waiting = text.encode("utf-8", "surrogatepass")
            if not data:
                break
        count = min(len(buffer), len(self._waiting))
        buffer[:count], self._waiting = self._waiting[:count], self._waiting[count:]
        return count

    def close(self) -> None:
        try:
            self._source.close()
        finally:
            super().close()
