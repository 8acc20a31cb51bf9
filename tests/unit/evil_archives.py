"""Archives that nobody makes in good faith, each around good files, by what is wrong with them."""

import gzip
import io
import stat
import struct
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_LZMA, ZipFile, ZipInfo

Files = Mapping[str, bytes]
Entry = tuple[tarfile.TarInfo, bytes]
# Some name that an honest archive of the dataset has, where an evil one has something else.
NAMED = "train-images-idx3-ubyte"


def tar_entry(name: str, content: bytes = b"evil", kind: bytes = tarfile.REGTYPE, link: str = "") -> Entry:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.size = kind, link, len(content) if kind == tarfile.REGTYPE else 0
    return entry, content


def tar_of(*entries: Entry, format: int = tarfile.GNU_FORMAT) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=format, compresslevel=1) as archive:
        for entry, content in entries:
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def zip_of(*entries: tuple[str | ZipInfo, bytes], packed_by: int = ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with ZipFile(packed, "w", packed_by) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    return packed.getvalue()


def zipped_kind(name: str, kind: int, content: bytes) -> tuple[ZipInfo, bytes]:
    entry = ZipInfo(name)
    entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
    return entry, content


def lying_zip(name: str, declared: int) -> bytes:
    """A file of a megabyte of which the list says that it has so many bytes."""
    packed = bytearray(zip_of((name, bytes(2**20))))
    at = packed.rindex(b"PK\x01\x02")
    packed[at + 24 : at + 28] = struct.pack("<I", declared)
    return bytes(packed)


def long_list() -> bytes:
    """As many entries as two megabytes hold, each an empty file."""
    names = 40_000
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, names * len(entry), 0, 0)
    return entry * names + end


def long_header() -> bytes:
    """A header of a name of 16 megabytes, which tarfile would keep in memory."""
    entry, content = tar_entry("././@LongLink", b"x" * 2**24)
    entry.type = tarfile.GNUTYPE_LONGNAME
    return tar_of((entry, content))


def negative_size() -> bytes:
    header = bytearray(tar_entry(NAMED)[0].tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 11 + b"\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return gzip.compress(bytes(header) + bytes(1024))


def sparse(content: bytes) -> Entry:
    entry, _ = tar_entry(NAMED, content)
    entry.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,1", "GNU.sparse.size": str(2**50)}
    return entry, content


# How it is made of the good files, and what is said of it; with the ending of its name.
EvilOfOneKind = tuple[Callable[[Files], bytes], str]
Evil = tuple[str, Callable[[Files], bytes], str]


def tar_with(*evil: Entry, format: int = tarfile.GNU_FORMAT) -> Callable[[Files], bytes]:
    return lambda files: tar_of(*(tar_entry(name, files[name]) for name in files), *evil, format=format)


def zip_with(*evil: tuple[str | ZipInfo, bytes], packed_by: int = ZIP_DEFLATED) -> Callable[[Files], bytes]:
    return lambda files: zip_of(*files.items(), *evil, packed_by=packed_by)


def evil_archives(outside: Path) -> dict[str, Evil]:
    """`outside` is a folder in which nobody has any business."""
    tars, zips = evil_tars(outside), evil_zips(outside, NAMED)
    return (
        {f"tar: {what}": (".tgz", *evil) for what, evil in tars.items()}
        | {f"zip: {what}": (".zip", *evil) for what, evil in zips.items()}
        | {"gz: a bomb": (".gz", lambda _: gzip.compress(bytes(2**26), 1), "more than 33,554,432 bytes")}
    )


def evil_tars(outside: Path) -> dict[str, EvilOfOneKind]:
    absolute, away = _ways_out(outside)
    return {
        "a way out": (tar_with(tar_entry(away)), "leads elsewhere"),
        "a way out behind a folder": (tar_with(tar_entry(f"raw/{away}")), "leads elsewhere"),
        "an absolute name": (tar_with(tar_entry(absolute)), "leads elsewhere"),
        "an absolute name in pax": (tar_with(tar_entry(f"/{'x' * 200}"), format=tarfile.PAX_FORMAT), "leads elsewhere"),
        "a backslash": (tar_with(tar_entry("..\\..\\written")), "leads elsewhere"),
        "a symbolic link": (tar_with(tar_entry("sub", kind=tarfile.SYMTYPE, link=str(outside))), "neither a file nor"),
        "a link in the place of a file": (
            lambda _: tar_of(tar_entry(NAMED, kind=tarfile.SYMTYPE, link="/etc/passwd")), "neither a file nor"),
        "a hard link": (lambda _: tar_of(tar_entry(NAMED, kind=tarfile.LNKTYPE, link="/etc/passwd")), "neither a file nor"),
        "a device": (lambda _: tar_of(tar_entry(NAMED, kind=tarfile.CHRTYPE)), "neither a file nor"),
        "a pipe": (lambda _: tar_of(tar_entry(NAMED, kind=tarfile.FIFOTYPE)), "neither a file nor"),
        "holes": (lambda _: tar_of(sparse(b"x"), format=tarfile.PAX_FORMAT), "neither a file nor"),
        "a long name": (tar_with(tar_entry("x" * 5000)), "is longer than 255"),
        "a long header": (lambda _: long_header(), "says that an entry has 16,777,216 bytes"),
        "a negative size": (lambda _: negative_size(), "says that an entry has -"),
        "many entries": (tar_with(*(tar_entry(str(number)) for number in range(1500))), "more than 1,000 entries"),
        "a bomb": (lambda _: tar_of(tar_entry("readme", bytes(2**26))), "more than 33,554,432 bytes"),
        "a bomb by a name": (lambda _: tar_of(tar_entry(NAMED, bytes(2**26))), "more than 33,554,432 bytes"),
        "no tar": (lambda _: gzip.compress(b"This is a text. " * 100), "is damaged"),
    }  # fmt: skip


def evil_zips(outside: Path, named: str) -> dict[str, EvilOfOneKind]:
    """`named` is a file that is looked for."""
    absolute, away = _ways_out(outside)
    return {
        "a way out": (zip_with((away, b"evil")), "leads elsewhere"),
        "an absolute name": (zip_with((absolute, b"evil")), "leads elsewhere"),
        "a drive": (zip_with(("C:written", b"evil")), "leads elsewhere"),
        "a backslash": (zip_with(("..\\written", b"evil")), "leads elsewhere"),
        "a symbolic link": (zip_with(zipped_kind("sub", stat.S_IFLNK, bytes(outside))), "neither a file nor"),
        "a link in the place of a file": (
            lambda _: zip_of(zipped_kind(named, stat.S_IFLNK, b"/etc/passwd")), "neither a file nor"),
        "a long name": (zip_with(("x" * 5000, b"")), "is longer than 255"),
        "many entries": (zip_with(*((str(number), b"") for number in range(1500))), "more than 1,000 entries"),
        "a long list": (lambda _: long_list(), "its list of entries is too long"),
        "a bomb that says so": (lambda _: zip_of((named, bytes(2**26))), "says itself that more than"),
        "a bomb that says less": (lambda _: lying_zip(named, 10), "is damaged"),
        "a bomb that says more": (lambda _: lying_zip(named, 2**32 - 2), "says itself that more than"),
        "a packing that asks for memory": (zip_with(packed_by=ZIP_LZMA), "packed in an unusual way"),
        "no zip": (lambda _: b"This is a text. " * 100, "is damaged"),
    }  # fmt: skip


def _ways_out(outside: Path) -> tuple[str, str]:
    return str(outside / "written"), f"../../../../../../../../..{outside}/written"
