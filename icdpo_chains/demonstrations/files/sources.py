"""`sources_of`: the files of a name: a file, a directory, a pattern, an archive, `-`, a hub data set."""

from __future__ import annotations

import errno
import glob
import io
import os
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from icdpo_chains.demonstrations.files.byte_source import ByteSource
from icdpo_chains.errors import UnknownFormatError

__all__ = ["FORMATS", "Source", "sources_of"]

FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather")
_PACKED = (".gz", ".xz", ".bz2", ".zst")
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?::[\w.-]+)?(?:@[\w.-]+)?\Z")
_MOST_MEMBERS = 1_000
_OTHERS = {
    ".xlsx": "an Excel workbook: save its sheet as CSV",
    ".xls": "an Excel workbook: save its sheet as CSV",
    ".docx": "a Word document: save the rows as CSV or JSON lines",
    ".pkl": "a pickle, which can run code: write the rows as JSON lines",
    ".pickle": "a pickle, which can run code: write the rows as JSON lines",
    ".sqlite": "a database: export the table as CSV",
    ".db": "a database: export the table as CSV",
    ".tar": "an archive: unpack it",
    ".7z": "an archive: unpack it",
    ".rar": "an archive: unpack it",
}


@dataclass(frozen=True)
class Source:
    """One file of rows.

    Attributes:
        name: the name for messages.
        suffix: the format, such as `.jsonl`; `""` if the content determines the format.
        open: opens the file's bytes; `None` for a data set of the hub.
        rows: the rows of a data set of the hub.
    """

    name: str
    suffix: str
    open: Callable[[], ByteSource] | None = None
    rows: Callable[[], Iterator[Any]] | None = None


def sources_of(path: str | os.PathLike[str]) -> list[Source]:
    """Returns the files of a name, ordered by name.

    Args:
        path: a file; a directory, for its files of known formats, including subdirectories; a pattern with
            `*`, `?` or `[...]`; a zip archive; `-` for standard input; or the name of a data set on the
            Hugging Face hub, `org/name`, `org/name@split` or `org/name:configuration@split`, if no file has
            that name.

    Raises:
        FileNotFoundError: there is no such file.
        UnknownFormatError: the directory or the archive has no file of a known format, or the name or the
            first bytes of the file show another format.
    """
    text = os.fspath(path)
    if text == "-":
        return [Source("-", "", lambda: ByteSource(io.BytesIO(sys.stdin.buffer.read())))]
    file = Path(text)
    if file.is_dir():
        found = sorted(p for p in file.rglob("*") if p.is_file() and _wanted(p.relative_to(file)))
        if not found:
            raise UnknownFormatError(f"the directory {text!r} has no file of a known format. {_formats()}")
        return [source for p in found for source in _file_sources(p)]
    if file.exists():
        return _file_sources(file)
    if any(char in text for char in "*?["):
        matches = sorted(p for p in glob.glob(text, recursive=True) if Path(p).is_file())
        if matches:
            return [source for p in matches for source in _file_sources(Path(p))]
    if _HUB.match(text) and _suffix(file.name) not in FORMATS and not file.parent.exists():
        return [Source(text, "", rows=lambda: _hub_rows(text))]
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def _file_sources(file: Path) -> list[Source]:
    suffix = _suffix(file.name)
    with file.open("rb") as opened:
        head = opened.read(8)
    if suffix in _OTHERS:
        raise UnknownFormatError(f"{str(file)!r} is {_OTHERS[suffix]}. {_formats()}")
    if suffix == ".zip":
        return _members(file)
    if head.startswith(b"PK\x03\x04"):
        raise UnknownFormatError(
            f"{str(file)!r} is a zip archive or an Excel workbook by its first bytes, whatever its name "
            "says: name an archive .zip, and save a workbook as CSV"
        )
    if suffix in (*FORMATS, ""):
        return [Source(str(file), suffix, lambda: ByteSource(file))]
    with ByteSource(file) as source:
        if source.peek(1).lstrip()[:1] in (b"{", b"["):  # JSON under another name
            return [Source(str(file), "", lambda: ByteSource(file))]
    raise UnknownFormatError(f"the format of {str(file)!r} is unknown by its suffix {suffix!r}. {_formats()}")


def _members(file: Path) -> list[Source]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = [
                info
                for info in archive.infolist()
                if not info.is_dir() and _wanted(PurePosixPath(info.filename))
            ]
    except (zipfile.BadZipFile, OSError) as error:
        raise UnknownFormatError(f"{str(file)!r} is not a readable zip archive: {error}") from None
    if not members:
        raise UnknownFormatError(f"the archive {str(file)!r} has no file of a known format. {_formats()}")
    if len(members) > _MOST_MEMBERS:
        raise UnknownFormatError(
            f"the archive {str(file)!r} contains {len(members)} files: at most {_MOST_MEMBERS} are read. "
            "Unpack it"
        )
    if any(info.flag_bits & 1 for info in members):
        raise UnknownFormatError(f"the archive {str(file)!r} is encrypted: unpack it")
    return [
        Source(
            f"{file}/{info.filename}", _suffix(PurePosixPath(info.filename).name), _member_opener(file, info)
        )
        for info in members
    ]


def _member_opener(file: Path, info: zipfile.ZipInfo) -> Callable[[], ByteSource]:
    def opened() -> ByteSource:
        archive = zipfile.ZipFile(file)
        try:
            member: IO[bytes] = archive.open(info)
        except (RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
            raise UnknownFormatError(f"'{file}/{info.filename}' can't be unpacked: {error}") from None
        finally:
            archive.close()  # the member keeps the file open
        return ByteSource(member, size=info.compress_size)

    return opened


def _hub_rows(name: str) -> Iterator[Any]:
    try:
        from datasets import load_dataset  # type: ignore[import-not-found]
    except ImportError:
        raise UnknownFormatError(
            f"there is no file {name!r}, and a data set of that name on the Hugging Face hub needs the "
            "package 'datasets': pip install \"icdpo-chains[datasets]\", or name a file"
        ) from None
    whole, _, split = name.partition("@")
    repository, _, configuration = whole.partition(":")
    try:
        yield from load_dataset(repository, configuration or None, split=split or "train", streaming=True)
    except Exception as error:  # of many types: the network, the hub, the data set's own files
        raise UnknownFormatError(
            f"there is no file {name!r}, and the data set of that name can't be loaded from the Hugging Face "
            f"hub: {error}"
        ) from error


def _wanted(path: Path | PurePosixPath) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return not hidden and _suffix(path.name) in FORMATS


def _suffix(name: str) -> str:
    lower = name.lower()
    for packed in _PACKED:
        lower = lower.removesuffix(packed)
    return Path(lower).suffix


def _formats() -> str:
    return f"Known formats: {', '.join(FORMATS)}, each also with {', '.join(_PACKED)}; and .zip"
