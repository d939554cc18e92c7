"""Photo files to pixels: every byte is decoded, and whatever is doubtful is refused with a reason code.

Reason codes: EMPTY (no bytes) · TRUNCATED (the end is missing) · NOT_AN_IMAGE · FORMAT (an image, but not JPEG, PNG or WebP) ·
EXTENSION (named as something else than it is) · TOO_LARGE (pixels, sides or bytes past the limits; judged from the header) ·
ANIMATED · TRAILING (something else is glued to the end) · CORRUPT (checksums or codes are wrong) · SYMLINK · SPECIAL_FILE ·
UNREADABLE (the system refuses to read it).
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from packshot.images.colour import Colour, HexColour, flatten, orient, parse_colour

Pixels = NDArray[np.uint8]
Format = Literal["JPEG", "PNG", "WEBP"]

VERSION = "2"
"""Of what this module makes of a file's bytes. It changes when any accepted photo's pixels or any refusal does, and by nothing else."""

MAX_PIXELS = 16_800_000
MAX_SIDE = 8192
MAX_BYTES = 64 * 1024 * 1024

SUFFIXES: dict[str, Format] = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
"""The endings that photos may have, and what each must hold."""

OTHER_FORMATS = (
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"8BPS", "PSD"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"%!PS", "EPS"),
    (b"SIMPLE  =", "FITS"),
    (b"<svg", "SVG"),
)


class PictureError(Exception):
    """Bytes that cannot become a photo: a reason code, and what exactly is wrong."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a photo's stored pixels depend on besides its bytes."""

    side: int
    """Both sides are scaled down until they are at most this."""
    background: HexColour
    """What transparency is laid over."""

    @property
    def digest(self) -> str:
        """The sha256 of the recipe and of the decoder's VERSION: photos stored under the same one need no decoding again."""
        return hashlib.sha256(json.dumps([VERSION, self.side, self.background]).encode()).hexdigest()

    @property
    def colour(self) -> Colour:
        """The background as red, green and blue."""
        return parse_colour(self.background)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A photo's pixels, uint8 (H, W, 3) RGB (sRGB), upright, without transparency; and what its file was."""

    pixels: Pixels
    format: Format


def read_file(path: Path) -> bytes:
    """The bytes of a regular file; links are not followed, and nothing that could block is waited for.

    Raises PictureError.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        reason = "SYMLINK" if error.errno == errno.ELOOP else "SPECIAL_FILE" if error.errno == errno.ENXIO else "UNREADABLE"
        raise PictureError(reason, error.strerror or type(error).__name__) from error
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise PictureError("SPECIAL_FILE", "not a regular file")
        if facts.st_size > MAX_BYTES:
            raise PictureError("TOO_LARGE", f"{facts.st_size:,} bytes; {MAX_BYTES:,} are allowed")
        with os.fdopen(os.dup(handle), "rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PictureError("UNREADABLE", error.strerror or type(error).__name__) from error
    finally:
        os.close(handle)


def decode(content: bytes, *, background: Colour, suffix: str | None = None) -> Decoded:
    """Decode a JPEG, a PNG or a WebP in full.

    Orientation by EXIF is applied, colours are brought to sRGB through the embedded profile (CMYK too), 16 bits are scaled to 8,
    and transparency is laid over `background`. A `suffix` ('.jpg', any case) must say what the content is. Raises PictureError.
    """
    form = _sniff(content)
    if suffix is not None and SUFFIXES.get(suffix.lower()) != form:
        raise PictureError("EXTENSION", f"named '{suffix}' but holds a {form}")
    _WALKERS[form](content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(content), formats=[form]) as image:
                _check_size(image.width, image.height)
                if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
                    raise PictureError("ANIMATED", "more than one frame")
                _load(image)
                pixels = orient(flatten(image, content, background), image)
        except PictureError:
            raise
        except MemoryError as error:
            raise PictureError("TOO_LARGE", "decoding it needs more memory than there is") from error
        except Image.DecompressionBombError as error:
            raise PictureError("TOO_LARGE", str(error)) from error
        except Exception as error:  # Pillow's parsers raise whatever a hostile file makes them raise
            missing = "truncated" in str(error).lower()
            raise PictureError("TRUNCATED" if missing else "CORRUPT", f"{type(error).__name__}: {error}"[:200]) from error
    return Decoded(pixels=pixels, format=form)


def _load(image: Image.Image) -> None:
    """Decode every pixel; a missing end is an error even where another library made Pillow forgiving."""
    forgiving, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        image.load()
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = forgiving


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise PictureError("CORRUPT", f"{width} x {height} pixels")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise PictureError("TOO_LARGE", f"{width} x {height} pixels; {MAX_SIDE} a side and {MAX_PIXELS:,} in all are allowed")


def _sniff(content: bytes) -> Format:
    if not content:
        raise PictureError("EMPTY", "the file has no bytes")
    if len(content) > MAX_BYTES:
        raise PictureError("TOO_LARGE", f"more than {MAX_BYTES:,} bytes")
    if content.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WEBP"
    for magic, name in OTHER_FORMATS:
        if content.startswith(magic):
            raise PictureError("FORMAT", f"{name} is not taken; JPEG, PNG and WebP are")
    if content[4:8] == b"ftyp":
        raise PictureError("FORMAT", "HEIC, AVIF and films are not taken; JPEG, PNG and WebP are")
    for magic in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"):
        if magic.startswith(content):
            raise PictureError("TRUNCATED", f"only {len(content)} bytes")
    raise PictureError("NOT_AN_IMAGE", "the content is no image that is known")


# --- the skeleton of each format: is the end there, is it the end, how large will it be -------------------------------------

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_ALONE = {0x01, *range(0xD0, 0xD9)}
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}


def _walk_jpeg(content: bytes) -> None:
    """ISO 10918-1 annex B: segments up to SOS, entropy-coded data up to the next marker, until EOI."""
    at = 2
    while True:
        found = _MARKER.search(content, at)
        if found is None:
            raise PictureError("TRUNCATED", "the end of the picture is missing")
        code, at = content[found.start() + 1], found.end()
        if code == 0xD9:
            break
        if code in _ALONE:
            continue
        if at + 2 > len(content):
            raise PictureError("TRUNCATED", "the end of the picture is missing")
        length = struct.unpack_from(">H", content, at)[0]
        if at + length > len(content) or length < 2:
            raise PictureError("TRUNCATED", "the end of the picture is missing")
        if code in _FRAMES and length >= 7:
            height, width = struct.unpack_from(">HH", content, at + 3)
            _check_size(width, height)
        at += length
    _check_trailing(content[at:])


def _check_trailing(rest: bytes) -> None:
    """What phones append on purpose passes (more pictures, films, Samsung's notes), and so does padding; none is kept."""
    rest = rest.strip(b"\x00\r\n ")
    if rest and not (rest.startswith(b"\xff\xd8\xff") or b"ftyp" in rest[:12] or rest.endswith(b"SEFT")):
        raise PictureError("TRAILING", f"{len(rest):,} bytes follow the end of the picture")


def _walk_png(content: bytes) -> None:
    """PNG third edition, 5.3: length, type, data, CRC; IHDR first, IEND last."""
    at, kind = 8, b""
    while kind != b"IEND":
        if at + 12 > len(content):
            raise PictureError("TRUNCATED", "the end of the picture is missing")
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 8 + length
        if end + 4 > len(content):
            raise PictureError("TRUNCATED", "the end of the picture is missing")
        if zlib.crc32(memoryview(content)[at + 4 : end]) != struct.unpack_from(">I", content, end)[0]:
            raise PictureError("CORRUPT", "a checksum is wrong")
        if at == 8:
            if kind != b"IHDR" or length != 13:
                raise PictureError("CORRUPT", "the header is missing")
            _check_size(*struct.unpack_from(">II", content, at + 8))
        at = end + 4
    if content[at:].strip(b"\x00\r\n "):
        raise PictureError("TRAILING", f"{len(content) - at:,} bytes follow the end of the picture")


def _walk_webp(content: bytes) -> None:
    """RFC 9649: a RIFF whose first chunk is VP8, VP8L or VP8X and tells the size."""
    if len(content) < 30:
        raise PictureError("TRUNCATED", "the end of the picture is missing")
    size = struct.unpack_from("<I", content, 4)[0] + 8
    if size > len(content):
        raise PictureError("TRUNCATED", "the end of the picture is missing")
    if content[size + size % 2 :].strip(b"\x00\r\n "):
        raise PictureError("TRAILING", f"{len(content) - size:,} bytes follow the end of the picture")
    kind = content[12:16]
    if kind == b"VP8X":
        if content[20] & 0x02:
            raise PictureError("ANIMATED", "more than one frame")
        width, height = (int.from_bytes(content[start : start + 3], "little") + 1 for start in (24, 27))
    elif kind == b"VP8L":
        packed = struct.unpack_from("<I", content, 21)[0]
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", content, 26))
    else:
        raise PictureError("CORRUPT", "the header is missing")
    _check_size(width, height)


_WALKERS: dict[Format, Callable[[bytes], None]] = {"JPEG": _walk_jpeg, "PNG": _walk_png, "WEBP": _walk_webp}
