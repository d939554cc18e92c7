"""What a source of product photos owes ingest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from packshot.images.decode import read_file
from packshot.records import BadPhoto, Record

if TYPE_CHECKING:
    from packshot.sources.stamps import Stamps

Pixels = NDArray[np.uint8]
"""A picture, uint8 (H, W, 3), RGB."""

Drawing = Callable[[], Pixels]
"""Draws one picture, whenever and in whichever process it is called: a module's function, or a functools.partial of one."""

Value = str | float | bool | date
"""What an attribute is, as a source offers it; tables of text offer text, and `sources.attributes` gives it its type."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells an untouched file without reading it."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int
    offset: int = 0
    """Where in the file the photo begins: an archive holds many."""


class Encoded(ABC):
    """Where the encoded bytes of one photo are; small, and sent to whichever process reads them."""

    @property
    @abstractmethod
    def suffix(self) -> str:
        """The ending that the name has, '.jpg', any case; it must say what the bytes are."""

    @abstractmethod
    def read(self) -> bytes:
        """The bytes. Raises PictureError."""

    def stamp(self) -> Stamp | None:
        """What the file system says of the file; None where there is no file of its own."""
        return None


@dataclass(frozen=True, slots=True)
class File(Encoded):
    """A regular file."""

    path: Path

    @property
    def suffix(self) -> str:
        return self.path.suffix

    def read(self) -> bytes:
        return read_file(self.path)

    def stamp(self) -> Stamp | None:
        try:
            facts = self.path.lstat()
        except OSError:
            return None
        return Stamp(facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)


@dataclass(frozen=True, slots=True)
class Rights:
    """Whether a photo may be used. Where nothing is said, nothing is known."""

    licence: str | None = None
    source: str | None = None
    """Who made it or where it came from."""
    consent: bool | None = None
    """Whether the people in it agreed."""
    expiry: date | None = None
    """The last day on which it may be used."""


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo that a source offers. It is read by whoever ingests it, in a process of its own, so listing costs nothing."""

    name: str
    """Unique in the catalogue and stable from day to day: the path below the catalogue's folder, with '/' between its parts."""
    category: str
    content: Encoded | Drawing
    """Where the encoded bytes are, or what draws the pixels."""
    sku: str = ""
    """The product that the photo shows, where the source knows; photos of one product never stand in two splits."""
    rights: Rights = Rights()
    attributes: Mapping[str, Value] = field(default_factory=dict)
    generation: int = 0
    """When the photo came, where the source keeps a history: 1 for the first delivery, 2 for the next ..."""
    sha256: str = ""
    """Of the bytes, where the source knows it without reading them."""


class Source(Record, ABC):
    """Where photos come from; a member of the union in params.yaml, dispatched by `kind:`."""

    @abstractmethod
    def describe(self) -> str:
        """The source in a few words, the same on every machine: 'folder data/catalog'."""

    def attribute_names(self, root: Path) -> frozenset[str]:
        """The names of the attributes that the photos may have; reading photos is not needed to know them."""
        return frozenset()

    def require_intact(self, root: Path, index: Stamps) -> None:
        """Raise IntegrityError where a file that stores many photos is not as it was written: no fault of single photos.

        Only files that `index` does not know are read; it learns them.
        """

    @abstractmethod
    def photos(self, root: Path) -> Iterator[Photo | BadPhoto]:
        """Every photo in a stable order, or the reason why it is none. Relative paths are taken from `root`, the project.

        Raises UsageError where the source does not exist, DataRejected where it holds nothing.
        """
