"""A shop's own photos: a folder tree whose first level is the category."""

from __future__ import annotations

import logging
import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Literal

from pydantic import Field

from packshot.errors import DataRejected, UsageError
from packshot.images.decode import SUFFIXES
from packshot.records import BadPhoto
from packshot.sources.base import File, Photo, Source

LITTER = {"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r", "__macosx"}
"""What Windows and macOS leave in folders."""

REFUSED_SUFFIXES = {
    *(
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".heic",
        ".heif",
        ".avif",
        ".jxl",
        ".jp2",
        ".psd",
        ".svg",
        ".eps",
        ".ico",
        ".jfif",
        ".jpe",
    ),
    *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".fits", ".exr", ".hdr", ".tga", ".pcx", ".xcf"),
}
"""Pictures of formats that are not taken: refused by name. What is no picture at all (.txt, .csv ...) is passed over."""

_NAMED = 10

log = logging.getLogger(__name__)


class Folder(Source):
    """`category/photo.jpg` below `path`; folders may be nested deeper, names may be of any script, links are never followed.

    A folder keeps no history: all its photos are of one generation, so a near-duplicate that comes later may move a group to
    another split. A packed catalogue (`packshot catalog add`) knows what came first and moves none.
    """

    kind: Literal["folder"]
    path: str = Field(min_length=1)

    def describe(self) -> str:
        return f"folder {self.path}"

    def photos(self, root: Path) -> Iterator[Photo | BadPhoto]:
        folder = root / self.path
        if not folder.is_dir():
            what = "not a folder" if folder.exists() else "no such folder"
            raise UsageError(
                what,
                where=str(folder),
                advice="ingest.source.path names a folder of category/*.jpg: 'packshot catalog add' or 'dvc pull' brings one",
            )
        try:
            entries = _entries(folder)
        except OSError as error:
            raise UsageError(
                f"the folder cannot be listed: {error.strerror}", where=str(folder), advice="give yourself the right to read it"
            ) from error
        empty = True
        passed: list[str] = []
        for item in _root(entries, passed):
            empty = False
            yield item
        if passed:
            more = f" and {len(passed) - _NAMED:,} more" if len(passed) > _NAMED else ""
            log.info("passed over, not photos: %s%s", ", ".join(map(escape, passed[:_NAMED])), more)
        if empty:
            raise DataRejected("the folder holds no photo", where=str(folder), advice="put photos into it: category/*.jpg")


def escape(text: str) -> str:
    """A name as it can be shown on one line: controls, direction marks and broken bytes become escapes."""
    return "".join(char if is_plain(char) else char.encode("unicode_escape", "backslashreplace").decode() for char in text)


def is_litter(name: str) -> bool:
    """Whether a file or folder is hidden, or something that file managers leave behind."""
    return name.startswith(".") or name.lower() in LITTER


def is_plain(char: str) -> bool:
    """Whether a character of a name can be shown as it is: no control, no direction mark, no broken byte."""
    return unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp") or char in "\u200c\u200d"


def _root(entries: list[os.DirEntry[str]], passed: list[str]) -> Iterator[Photo | BadPhoto]:
    spellings: dict[str, str] = {}
    for entry in entries:
        if is_litter(entry.name):
            passed.append(entry.name)
        elif entry.is_dir(follow_symlinks=False):
            category = unicodedata.normalize("NFC", entry.name)
            twin = spellings.setdefault(category.casefold(), category)
            if twin != category:
                log.warning("the categories '%s' and '%s' differ only in case", escape(twin), escape(category))
            yield from _category(Path(entry.path), entry.name, category, passed)
        elif fault := _fault(entry):
            yield _bad(entry.name, "", *fault)
        elif _suffix(entry.name) in SUFFIXES or _suffix(entry.name) in REFUSED_SUFFIXES:
            yield _bad(entry.name, "", "NAME", "lies in no category's folder")
        else:
            passed.append(entry.name)


def _category(folder: Path, name: str, category: str, passed: list[str]) -> Iterator[Photo | BadPhoto]:
    if not all(map(is_plain, name)) or name != name.strip():
        yield _bad(name, category, "NAME", "a category's name is text on one line, without spaces around it")
        return
    offered, seen = 0, set[str]()
    for item in _tree(folder, name, category, passed):
        offered += 1
        if isinstance(item, Photo) and item.name in seen:
            yield _bad(item.name, category, "NAME", "another file has the same name, spelt in other code points")
            continue
        if isinstance(item, Photo):
            seen.add(item.name)
        yield item
    if not offered:
        yield _bad(name, category, "EMPTY_CATEGORY", "the folder holds no photo")


def _tree(folder: Path, below: str, category: str, passed: list[str]) -> Iterator[Photo | BadPhoto]:
    try:
        entries = _entries(folder)
    except OSError as error:
        yield _bad(below, category, "UNREADABLE", error.strerror or type(error).__name__)
        return
    for entry in entries:
        name = f"{below}/{entry.name}"
        suffix = _suffix(entry.name)
        if is_litter(entry.name):
            passed.append(name)
        elif entry.is_dir(follow_symlinks=False):
            yield from _tree(Path(entry.path), name, category, passed)
        elif fault := _fault(entry):
            yield _bad(name, category, *fault)
        elif suffix in SUFFIXES:
            yield Photo(name=unicodedata.normalize("NFC", name), category=category, content=File(Path(entry.path)))
        elif suffix in REFUSED_SUFFIXES:
            yield _bad(name, category, "FORMAT", f"'{suffix}' is not taken; JPEG, PNG and WebP are")
        else:
            passed.append(name)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, in the order of the names' bytes: the same on every file system."""
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: os.fsencode(entry.name))


def _fault(entry: os.DirEntry[str]) -> tuple[str, str] | None:
    """Why something that is no folder cannot be a photo whatever it holds."""
    if entry.is_symlink():
        return "SYMLINK", "links are not followed; copy the photo itself"
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError as error:  # it has gone since the folder was listed
        return "UNREADABLE", error.strerror or type(error).__name__
    if not stat.S_ISREG(mode):
        return "SPECIAL_FILE", "a pipe, a socket or a device"
    if any(unicodedata.category(char) == "Cs" for char in entry.name):
        return "NAME", "the name is not UTF-8"
    return None


def _bad(name: str, category: str, reason: str, detail: str) -> BadPhoto:
    return BadPhoto(path=escape(name), category=escape(category), reason=reason, detail=detail)


def _suffix(name: str) -> str:
    return PurePath(name).suffix.lower()
