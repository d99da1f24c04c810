"""`ByteSource`: a file's bytes, decompressed while they are read."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import IO, Any

__all__ = ["ByteSource"]

_GZIP_MAGIC = b"\x1f\x8b"
_BUFFER = 1 << 16


class ByteSource(io.BufferedReader):
    """A file's bytes, gunzipped where its first two bytes say gzip, whatever the file is called.

    A truncated or damaged gzip stream ends like a file: what could be decompressed is read first, then there
    is no more, and `broken` says why. So a reader loses nothing of what stands before the damage.

    Args:
        path: the file.

    Raises:
        OSError: the file can't be opened or read, `FileNotFoundError` and `PermissionError` among them.
    """

    def __init__(self, path: Path) -> None:
        self._decompressed = _Decompressed(path.open("rb"))
        super().__init__(self._decompressed, _BUFFER)

    @property
    def broken(self) -> str | None:
        """Why the bytes ended before their time, or `None`; known once the end was reached."""
        return self._decompressed.broken

    @property
    def plain_file(self) -> IO[bytes] | None:
        """The file itself, which can seek, or `None` where it is compressed; valid while nothing was read."""
        return self._decompressed.plain_file


class _Decompressed(io.RawIOBase):
    def __init__(self, file: io.BufferedReader) -> None:
        self.broken: str | None = None
        self._file = file
        self._stream: io.BufferedReader | gzip.GzipFile = self._file
        try:
            if self._file.peek(2)[:2] == _GZIP_MAGIC:
                self._stream = gzip.GzipFile(fileobj=self._file, mode="rb")
        except BaseException:
            self._file.close()
            raise

    @property
    def plain_file(self) -> IO[bytes] | None:
        return self._file if self._stream is self._file else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.broken:
            return 0
        try:
            # One read at most: a longer one would lose what it had when it meets the damage.
            data: bytes = self._stream.read1(len(buffer))
        except EOFError:
            self.broken = "the gzip stream is truncated here: copy or download the file again"
            return 0
        except (zlib.error, gzip.BadGzipFile) as error:
            self.broken = f"the gzip stream is damaged here ({error}): copy or download the file again"
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
