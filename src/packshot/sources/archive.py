"""A tree of photos in one file: ZIP, or plain tar. Nothing is ever unpacked; each photo is read where it lies."""

from __future__ import annotations

import os
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field

from packshot.errors import DataRejected, UsageError
from packshot.images.decode import MAX_BYTES, SUFFIXES, PictureError
from packshot.records import BadPhoto
from packshot.sources.base import Encoded, Photo, Source, Stamp
from packshot.sources.folder import REFUSED_SUFFIXES, escape, is_litter, is_plain

COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
"""What a compressed tar begins with: gzip, bzip2, xz, Zstandard."""

MOST_RATIO = 100
"""A photo is packed already: what claims to unpack to more than this many times the archive's size is a bomb."""
_ROOM = 64 * 1024 * 1024
_ZIP_HEADER = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 0x1


@dataclass(frozen=True, slots=True)
class Member(Encoded):
    """One file of an archive, by its place there."""

    archive: Path
    name: str
    offset: int
    """Of a ZIP member's local header; of a tar member's first byte."""
    packed: int
    """Bytes in the archive."""
    size: int
    """Bytes of the photo."""
    crc: int | None = None
    """None in a tar, which has no checksum of its members."""
    deflated: bool = False

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    def stamp(self) -> Stamp | None:
        try:
            facts = self.archive.lstat()
        except OSError:
            return None
        return Stamp(self.size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino, self.offset)

    def read(self) -> bytes:
        try:
            with self.archive.open("rb") as file:
                file.seek(self.offset)
                if self.crc is not None:
                    header = _ZIP_HEADER.unpack(file.read(_ZIP_HEADER.size))
                    file.seek(header[9] + header[10], os.SEEK_CUR)
                content = file.read(self.packed)
            if len(content) != self.packed:
                raise PictureError("TRUNCATED", "the archive ends within it")
            if self.deflated:
                content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, self.size + 1)
        except (OSError, struct.error, zlib.error) as error:
            raise PictureError("CORRUPT", f"the archive cannot be read here: {error}") from error
        if len(content) != self.size or (self.crc is not None and zlib.crc32(content) != self.crc):
            raise PictureError("CORRUPT", "not what the archive promised: its size or its checksum is another")
        return content


class Archive(Source):
    """`category/photo.jpg` in the archive `path`. Links, devices and paths that lead out of it are refused."""

    kind: Literal["archive"]
    path: str = Field(min_length=1)
    below: str = ""
    """The folder in the archive that holds the categories: 'photos' where the archive holds photos/hat/1.jpg."""

    def describe(self) -> str:
        return f"archive {self.path}{f', {self.below}/' if self.below else ''}"

    def photos(self, root: Path) -> Iterator[Photo | BadPhoto]:
        path = root / self.path
        seen: set[str] = set()
        empty = True
        for name, content in _members(path):
            item = _judge(name, content, PurePosixPath(self.below).parts)
            if item is None:
                continue
            empty = False
            if isinstance(item, Photo) and item.name in seen:
                detail = "the archive has another file of the same name"
                item = BadPhoto(path=escape(item.name), category=escape(item.category), reason="NAME", detail=detail)
            elif isinstance(item, Photo):
                seen.add(item.name)
            yield item
        if empty:
            raise DataRejected("the archive holds no photo", where=str(path), advice="put photos into it: category/*.jpg")


def _judge(name: str, content: Member | tuple[str, str], below: tuple[str, ...]) -> Photo | BadPhoto | None:
    """What a member is: a photo, a bad one, or nothing that matters."""
    path = PurePosixPath(name if "/" in name else name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        return BadPhoto(path=escape(name), category="", reason="PATH", detail="a path that leads out of the archive")
    if path.parts[: len(below)] != below or any(map(is_litter, path.parts)):
        return None
    parts, suffix = path.parts[len(below) :], path.suffix.lower()
    if isinstance(content, tuple):
        return _bad(parts, *content)
    if suffix in REFUSED_SUFFIXES:
        return _bad(parts, "FORMAT", f"'{suffix}' is not taken; JPEG, PNG and WebP are")
    if suffix not in SUFFIXES:
        return None
    if len(parts) < 2:
        return _bad(parts, "NAME", "lies in no category's folder")
    if not all(map(is_plain, parts[0])) or parts[0] != parts[0].strip():
        return _bad(parts, "NAME", "a category's name is text on one line, without spaces around it")
    if content.size > MAX_BYTES:
        return _bad(parts, "TOO_LARGE", f"{content.size:,} bytes; {MAX_BYTES:,} are allowed")
    names = [unicodedata.normalize("NFC", part) for part in parts]
    return Photo(name="/".join(names), category=names[0], content=content)


def _bad(parts: tuple[str, ...], reason: str, detail: str) -> BadPhoto:
    category = unicodedata.normalize("NFC", parts[0]) if len(parts) > 1 else ""
    return BadPhoto(path=escape("/".join(parts)), category=escape(category), reason=reason, detail=detail)


def _members(path: Path) -> Iterator[tuple[str, Member | tuple[str, str]]]:
    """Every file of an archive in its order: its name, and where it is or why it cannot be a photo."""
    if not path.is_file():
        raise UsageError("no such archive", where=str(path), advice="ingest.source.path names one; 'dvc pull' may bring it")
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(COMPRESSED):
        raise UsageError(
            "a compressed tar can only be read from its beginning",
            where=str(path),
            advice="unpack the compression alone (gunzip, unxz), photos hardly compress; or make it a .zip",
        )
    try:
        yield from _zip(path) if zipfile.is_zipfile(path) else _tar(path)
    except (zipfile.BadZipFile, tarfile.TarError, NotImplementedError, struct.error, ValueError, RecursionError) as error:
        # the last two are what the readers make of names, numbers and headers upon headers that nobody's tool writes
        raise DataRejected(f"not a whole archive: {error}", where=str(path), advice="make or download it again") from error


def _zip(path: Path) -> Iterator[tuple[str, Member | tuple[str, str]]]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    _refuse_bomb(path, members)
    for one in members:
        mode = one.external_attr >> 16
        name = one.filename if one.flag_bits & 0x800 else _unicode(one.orig_filename)
        if one.is_dir():
            continue
        if stat.S_ISLNK(mode):
            yield name, ("SYMLINK", "links are not followed; pack the photo itself")
        elif stat.S_IFMT(mode) and not stat.S_ISREG(mode):
            yield name, ("SPECIAL_FILE", "a pipe, a socket or a device")
        elif one.flag_bits & _ENCRYPTED:
            yield name, ("UNREADABLE", "it is encrypted")
        elif one.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            yield name, ("UNREADABLE", f"packed by method {one.compress_type}; 'stored' and 'deflated' are read")
        elif one.compress_size > one.file_size + one.file_size // 1000 + 1024:
            yield name, ("CORRUPT", "it is larger in the archive than outside")
        else:
            deflated = one.compress_type == zipfile.ZIP_DEFLATED
            yield name, Member(path, name, one.header_offset, one.compress_size, one.file_size, one.CRC, deflated)


def _refuse_bomb(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Raise DataRejected where members claim too much, or share bytes (Fifield, A better zip bomb, WOOT 2019)."""
    size = path.stat().st_size
    claimed = sum(one.file_size for one in members)
    end = 0
    for one in sorted(members, key=lambda one: one.header_offset):
        if one.header_offset < end:
            raise DataRejected(
                "a bomb: its members share bytes", where=str(path), advice=f"do not open it; see '{escape(one.filename)}'"
            )
        end = one.header_offset + _ZIP_HEADER.size + one.compress_size
    if claimed > MOST_RATIO * size + _ROOM:
        raise DataRejected(f"a bomb: {claimed:,} bytes in {size:,}", where=str(path), advice="do not open it")


def _unicode(name: str) -> str:
    """A name without the flag that says UTF-8: UTF-8 all the same where it can be (macOS), else of the IBM PC's code page 437."""
    try:
        return name.encode("cp437").decode()
    except (UnicodeEncodeError, UnicodeDecodeError):
        return name


def _tar(path: Path) -> Iterator[tuple[str, Member | tuple[str, str]]]:
    if not tarfile.is_tarfile(path):
        raise DataRejected("neither a ZIP nor a tar", where=str(path), advice="make or download it again")
    end = path.stat().st_size
    with tarfile.open(path, "r:", errors="surrogateescape") as archive:
        while (one := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep each header in memory
            if one.size < 0:
                raise tarfile.ReadError("a file of less than no bytes")  # the reader would go back by them, for ever
            if any(unicodedata.category(char) == "Cs" for char in one.name):
                yield one.name, ("NAME", "the name is not UTF-8")
            elif one.isdir():
                continue
            elif one.issym() or one.islnk():
                yield one.name, ("SYMLINK", "links are not followed; pack the photo itself")
            elif not one.isfile() or one.issparse():
                yield one.name, ("SPECIAL_FILE", "a pipe, a device or a sparse file")
            elif one.offset_data + one.size > end:
                yield one.name, ("TRUNCATED", "the archive ends within it")
            else:
                yield one.name, Member(path, one.name, one.offset_data, one.size, one.size)
