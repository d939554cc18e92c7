"""A photo file's skeleton: what it is, whether its end is there and is the end, how large it will be. No pixel is decoded."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Format = Literal["JPEG", "PNG", "WEBP"]

MAX_PIXELS = 16_800_000
MAX_SIDE = 8192
MAX_BYTES = 64 * 1024 * 1024
MAX_PARTS = 20_000
"""Segments of a JPEG, chunks of a PNG. An encoder's IDAT of 8 kB fills a file of MAX_BYTES with 8,192."""
MAX_SCANS = 40
"""Passes over the pixels of a JPEG. Progressive encoders make about ten; each costs a decoder time that no byte pays for."""

_NO_END = "the end of the picture is missing"
_TOO_MANY_PARTS = f"the file is in more than {MAX_PARTS:,} parts"

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
class Skeleton:
    """What a file's structure says."""

    format: Format
    channels: int = 0
    """Of a JPEG's frame: 1 grey, 3 colours, 4 inks; 0 for other formats."""
    exif: bytes = b""
    """A JPEG's EXIF, from 'Exif' on."""
    profile: bytes = b""
    """A JPEG's colour profile."""
    plain: bool = False
    """A JPEG with nothing in it whose meaning a decoder would have to know besides the two above."""


def inspect(content: bytes) -> Skeleton:
    """The skeleton of a JPEG, a PNG or a WebP within the limits. Raises PictureError."""
    return _WALKERS[_sniff(content)](content)


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


# --- JPEG ---------------------------------------------------------------------------------------------------------------

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_ALONE = {0x01, *range(0xD0, 0xD9)}
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_HUFFMAN = {0xC0, 0xC1, 0xC2}
_TABLES = {0xC4, 0xDB, 0xDD, 0xFE}


def _walk_jpeg(content: bytes) -> Skeleton:
    """ISO 10918-1 annex B: segments up to SOS, entropy-coded data up to the next marker, until EOI."""
    at, parts, scans, channels, plain = 2, 0, 0, 0, True
    exif: list[bytes] = []
    profile: list[bytes] = []
    while True:
        found = _MARKER.search(content, at)
        if found is None:
            raise PictureError("TRUNCATED", _NO_END)
        start = found.end()
        code = content[start - 1]
        parts += 1
        if parts > MAX_PARTS:
            raise PictureError("BUDGET", _TOO_MANY_PARTS)
        if code == 0xD9:
            break
        if code in _ALONE:
            at, plain = start, False
            continue
        at = start + _length(content, start)
        if code in _FRAMES:
            channels = _read_frame(code, content[start + 2 : at])
        elif code == 0xDA:
            scans += 1
            if scans > MAX_SCANS:
                raise PictureError("BUDGET", f"more than {MAX_SCANS} scans")
        elif code == 0xE1 and content.startswith(b"Exif\0\0", start + 2):
            exif.append(content[start + 2 : at])
        elif code == 0xE2 and content.startswith(b"ICC_PROFILE\0", start + 2):
            profile.append(content[start + 14 : at])
        elif code not in _TABLES:
            plain = plain and _says_nothing(code, content[start + 2 : at])
    _check_trailing(content[at if code != 0xD9 else start :])
    plain = plain and len(exif) <= 1 and [part[:2] for part in profile] in ([], [b"\1\1"])
    return Skeleton("JPEG", channels, b"".join(exif[:1]), b"".join(part[2:] for part in profile), plain)


def _length(content: bytes, at: int) -> int:
    """Of the segment whose length stands at `at`."""
    length = int.from_bytes(content[at : at + 2], "big")
    if length < 2 or at + length > len(content):
        raise PictureError("TRUNCATED", _NO_END)
    return length


def _read_frame(code: int, header: bytes) -> int:
    """The number of channels; 12 bits, arithmetic and lossless codes are refused, since only some decoders know them."""
    if len(header) < 6:
        raise PictureError("CORRUPT", "the frame's header is too short")
    bits, height, width, channels = struct.unpack_from(">BHHB", header)
    _check_size(width, height)
    if code not in _HUFFMAN or bits != 8:
        raise PictureError(
            "FORMAT", f"a JPEG coded as SOF{code - 0xC0} with {bits} bits is not taken; baseline and progressive are"
        )
    return int(channels)


def _says_nothing(code: int, body: bytes) -> bool:
    """Whether an application's segment can be passed over: JFIF, Adobe's colours (which every decoder reads) and mere notes."""
    if code == 0xE0:
        return len(body) >= 14 and body.startswith((b"JFIF\0", b"JFXX\0"))
    if code == 0xE1:
        return body.startswith(b"http://ns.adobe.com/") and b"Orientation" not in body
    if code == 0xEE:
        return len(body) == 12 and body.startswith(b"Adobe")
    return code in {0xEC, 0xEB} or (code == 0xED and not body.startswith(b"Photoshop"))


def _check_trailing(rest: bytes) -> None:
    """What phones append on purpose passes (more pictures, films, Samsung's notes), and so does padding; none is kept."""
    rest = rest.strip(b"\x00\r\n ")
    if rest and not (rest.startswith(b"\xff\xd8\xff") or b"ftyp" in rest[:12] or rest.endswith(b"SEFT")):
        raise PictureError("TRAILING", f"{len(rest):,} bytes follow the end of the picture")


# --- PNG and WebP -------------------------------------------------------------------------------------------------------


def _walk_png(content: bytes) -> Skeleton:
    """PNG third edition, 5.3: length, type, data, CRC; IHDR first, IEND last."""
    at, kind, parts = 8, b"", 0
    while kind != b"IEND":
        parts += 1
        if parts > MAX_PARTS:
            raise PictureError("BUDGET", _TOO_MANY_PARTS)
        if at + 12 > len(content):
            raise PictureError("TRUNCATED", _NO_END)
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 8 + length
        if end + 4 > len(content):
            raise PictureError("TRUNCATED", _NO_END)
        if zlib.crc32(memoryview(content)[at + 4 : end]) != struct.unpack_from(">I", content, end)[0]:
            raise PictureError("CORRUPT", "a checksum is wrong")
        if at == 8:
            if kind != b"IHDR" or length != 13:
                raise PictureError("CORRUPT", "the header is missing")
            _check_size(*struct.unpack_from(">II", content, at + 8))
        at = end + 4
    _require_padding(content[at:])
    return Skeleton("PNG")


def _walk_webp(content: bytes) -> Skeleton:
    """RFC 9649: a RIFF whose first chunk is VP8, VP8L or VP8X and tells the size."""
    if len(content) < 30:
        raise PictureError("TRUNCATED", _NO_END)
    size = struct.unpack_from("<I", content, 4)[0] + 8
    if size > len(content):
        raise PictureError("TRUNCATED", _NO_END)
    _require_padding(content[size + size % 2 :])
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
    return Skeleton("WEBP")


def _require_padding(rest: bytes) -> None:
    if rest.strip(b"\x00\r\n "):
        raise PictureError("TRAILING", f"{len(rest):,} bytes follow the end of the picture")


_WALKERS: dict[Format, Callable[[bytes], Skeleton]] = {"JPEG": _walk_jpeg, "PNG": _walk_png, "WEBP": _walk_webp}
