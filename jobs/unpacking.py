"""Files out of archives that nobody vouches for: those that were asked for by name, and nothing else, to paths of our own.

An archive that holds what no honest one does (a way out, a link, a device, far too much) is refused whole.
"""

import gzip
import io
import re
import stat
import struct
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Protocol
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

from jobs.errors import EnvironmentFault, UserError

MOST_ENTRIES = 1000
LONGEST_NAME = 255
# tarfile reads a header with a long name whole, zipfile its list of entries.
LARGEST_HEADER = 2**20
CHUNK_BYTES = 2**18
NOT_SHOWN_IN_FULL = 80

HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)
DAMAGED = (
    EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError, BadZipFile, RuntimeError, ValueError, OverflowError, struct.error,
)  # fmt: skip

# What an archive calls a file, and where that goes.
Wanted = Mapping[str, Path]


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Refusal(UserError):
    """The archive is none that anybody made in good faith."""


class Measured:
    """A stream that ends in a refusal where it goes on for too long: what a bomb says of its size need not be true."""

    def __init__(self, stream: Readable, most_bytes: int) -> None:
        self._stream = stream
        self._most_bytes = self._left = most_bytes

    def read(self, size: int, /) -> bytes:
        content = self._stream.read(min(size, self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise Refusal(f"what is in it is more than {self._most_bytes:,} bytes")
        return content


class ShortReads(io.BufferedReader):
    """A file of which nobody reads much at once, as zipfile would read a list of a million entries."""

    def read(self, size: int | None = -1, /) -> bytes:
        most = LARGEST_HEADER + 1 if size is None or size < 0 else min(size, LARGEST_HEADER + 1)
        content = super().read(most)
        if len(content) > LARGEST_HEADER:
            raise Refusal("its list of entries is too long")
        return content


class Member(tarfile.TarInfo):
    """An entry of a tar, looked at before tarfile acts on what it says."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "Member":
        member = super().frombuf(buf, encoding, errors)
        if member.size < 0 or (member.type in HEADERS and member.size > LARGEST_HEADER):
            raise Refusal(f"it says that an entry has {member.size:,} bytes")
        return member


def unpack(archive: Path, wanted: Wanted, most_bytes: int) -> None:
    """Write those of the wanted files that the archive has and that are not there yet, by the kind that its name says.
    UserError where it is damaged or refused; `most_bytes` is of all that is in it."""
    if archive.name.endswith(".zip"):
        unpack_zip(archive, wanted, most_bytes)
    elif archive.name.endswith((".tgz", ".tar.gz")):
        _unpack_tar(archive, wanted, most_bytes)
    else:
        _unpack_gzip(archive, wanted, most_bytes)


def unpack_zip(archive: Path, wanted: Wanted, most_bytes: int) -> None:
    """The same for a zip, whatever it is called."""
    with _in_words(archive), ShortReads(io.FileIO(archive)) as file, ZipFile(file) as zipped:
        entries = zipped.infolist()
        _refuse_many(len(entries))
        for entry in entries:
            # Some programs leave the kind of a file away.
            kind = stat.S_IFMT(entry.external_attr >> 16)
            _refuse_entry(entry.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR))
        chosen = [(entry, target) for entry in entries if (target := _target(wanted, entry.filename)) is not None]
        if sum(entry.file_size for entry, _ in chosen) > most_bytes:
            raise Refusal(f"it says itself that more than {most_bytes:,} bytes are in it")
        for entry, target in chosen:
            if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                raise Refusal("it is packed in an unusual way, for which a small file may ask for any memory")
            with zipped.open(entry) as content:
                _write(Measured(content, most_bytes), target)


def _unpack_tar(archive: Path, wanted: Wanted, most_bytes: int) -> None:
    # As a stream: nothing that an entry says leads back to another one.
    with _in_words(archive), ExitStack() as stack:
        measured = Measured(stack.enter_context(gzip.open(archive)), most_bytes)
        members = stack.enter_context(tarfile.open(fileobj=_as_file(measured), mode="r|", tarinfo=Member))
        for number, member in enumerate(members, 1):
            _refuse_many(number)
            is_file = member.type in FILES and not member.issparse()
            _refuse_entry(member.name, is_file or member.isdir())
            target = _target(wanted, member.name)
            if target is not None and is_file and (content := members.extractfile(member)) is not None:
                _write(content, target)


def _as_file(stream: Measured) -> IO[bytes]:
    """tarfile asks of a stream no more than that it can be read."""
    return stream  # type: ignore[return-value]


def _unpack_gzip(archive: Path, wanted: Wanted, most_bytes: int) -> None:
    """One file, which is called as the archive is without its ending."""
    if (target := _target(wanted, archive.stem)) is not None:
        with _in_words(archive), gzip.open(archive) as content:
            _write(Measured(content, most_bytes), target)


def copy_file(file: Path, target: Path, most_bytes: int) -> None:
    """A file that is in no archive, no longer than one."""
    with _in_words(file), file.open("rb") as content:
        _write(Measured(content, most_bytes), target)


@contextmanager
def _in_words(archive: Path) -> Iterator[None]:
    try:
        yield
    except Refusal as error:
        raise UserError(f"{archive} is refused: {error}. Fetch it anew, from where it can be trusted.") from error
    except DAMAGED as error:
        raise UserError(
            f"{archive} is damaged and cannot be unpacked: {error}. Perhaps it was cut off on its way: fetch it anew."
        ) from error
    except OSError as error:
        raise EnvironmentFault(f"{archive} cannot be unpacked: {error.strerror or error}.") from error


def _refuse_many(count: int) -> None:
    if count > MOST_ENTRIES:
        raise Refusal(f"it has more than {MOST_ENTRIES:,} entries")


def _refuse_entry(name: str, is_plain: bool) -> None:
    # Backslashes and drives are ways out for the tools of other systems, and stand in no honest archive.
    shown = ascii(name[:NOT_SHOWN_IN_FULL])
    if len(name) > LONGEST_NAME:
        raise Refusal(f"the name {shown}… in it is longer than {LONGEST_NAME} characters")
    if name.startswith("/") or ".." in name.split("/") or re.search(r"[\\\x00]|^[A-Za-z]:", name):
        raise Refusal(f"{shown} in it leads elsewhere")
    if not is_plain:
        raise Refusal(f"{shown} in it is neither a file nor a folder")


def _target(wanted: Wanted, name: str) -> Path | None:
    """Where a file of this name goes; None where nobody asked for it, or it is there already."""
    target = wanted.get(str(PurePosixPath(name)))
    return None if target is None or target.exists() else target


def _write(content: Readable, target: Path) -> None:
    with target.open("xb") as file:
        while chunk := content.read(CHUNK_BYTES):
            file.write(chunk)
