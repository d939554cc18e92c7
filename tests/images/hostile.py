"""A corpus of hostile photo files, each with the verdict that intake owes it: TAKEN, or a reason code.

`python -m tests.images.hostile FOLDER` writes it. The same files on every machine with the same Pillow.
"""

from __future__ import annotations

import os
import random
import re
import socket
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from tests.images.files import (
    animated,
    chunk,
    encode,
    gamma_profile,
    grey_cmyk_profile,
    jpeg,
    jpeg_header,
    png,
    png_of,
    product,
    webp,
    webp_header,
)

SECRET = b"48.8584N 2.2945E"
"""Stands in whatever metadata a file of the corpus has; no taken photo may still say it."""


@dataclass(frozen=True)
class Hostile:
    """One file: its name in the corpus, what kind of trouble it is, its verdict, and its bytes or the act that makes it."""

    name: str
    kind: str
    verdict: str
    make: Callable[[], bytes] | Callable[[Path], None]
    special: bool = False

    def write(self, folder: Path) -> Path:
        path = folder / self.name
        if self.special:
            self.make(path)  # type: ignore[call-arg]
        else:
            path.write_bytes(self.make())  # type: ignore[call-arg, arg-type]
        return path


@cache
def corpus() -> tuple[Hostile, ...]:
    """The corpus, in a stable order; names are unique."""
    found: list[Hostile] = []
    for kind, part in PARTS.items():
        for name, verdict, make in part():
            found.append(Hostile(f"{len(found):03d} {name}", kind, verdict, make, special=kind == "special file"))
    return tuple(found)


Part = Iterator[tuple[str, str, Callable[..., object]]]


# --- building blocks ----------------------------------------------------------------------------------------------------


@cache
def photo() -> bytes:
    return jpeg(product(1, 96, 128))


@cache
def progressive() -> bytes:
    return jpeg(product(2, 96, 128), progressive=True, subsampling=2)


@cache
def inks() -> bytes:
    return encode(Image.fromarray(product(3, 48, 64)).convert("CMYK"), "JPEG", quality=90)


@cache
def zeros() -> bytes:
    """200 MB of them, compressed."""
    return zlib.compress(bytes(200_000_000), 9)


def segment(code: int, body: bytes) -> bytes:
    return b"\xff" + bytes([code]) + struct.pack(">H", len(body) + 2) + body


def after_start(content: bytes, *segments: bytes) -> bytes:
    """A JPEG with more segments right behind its start."""
    return content[:2] + b"".join(segments) + content[2:]


def patch(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def frame_at(content: bytes) -> int:
    """Where a JPEG's frame header begins."""
    return next(match.start() for match in re.finditer(rb"\xff[\xc0-\xc2]\x00[\x08-\x17]", content))


def scan_at(content: bytes) -> int:
    """Where the coded data of a JPEG's first scan begins."""
    at = content.index(b"\xff\xda")
    return at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")


def png_parts(content: bytes) -> list[tuple[bytes, bytes]]:
    at, parts = 8, []
    while at < len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        parts.append((kind, content[at + 8 : at + 8 + length]))
        at += 12 + length
    return parts


def png_from(parts: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in parts)


def with_chunk(*chunks: bytes) -> bytes:
    """A sound PNG with more chunks behind its header."""
    content = png()
    return content[:33] + b"".join(chunks) + content[33:]


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def header(width: int, height: int, depth: int = 8, colour: int = 2, method: int = 0, filters: int = 0, lace: int = 0) -> bytes:
    return struct.pack(">IIBBBBB", width, height, depth, colour, method, filters, lace)


def exif(entries: list[tuple[int, int, int, bytes]], after: bytes = b"", link: int = 0) -> bytes:
    """A little-endian EXIF block: entries of tag, type, count and four bytes; what follows the directory; the next directory."""
    body = b"II*\0" + struct.pack("<IH", 8, len(entries))
    body += b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"Exif\0\0" + body + struct.pack("<I", link) + after


# --- the parts ----------------------------------------------------------------------------------------------------------


def cut_short() -> Part:
    makes: dict[str, Callable[[], bytes]] = {
        "baseline.jpg": photo,
        "progressive.jpg": progressive,
        "plain.png": lambda: png(product(4, 48, 64)),
        "lossless.webp": lambda: webp(product(5, 48, 64)),
        "lossy.webp": lambda: encode(product(6, 96, 128), "WEBP", quality=90),
    }
    for name, make in makes.items():
        for part in range(1, 20):
            yield f"{part} of 20 of {name}", "TRUNCATED", lambda make=make, part=part: make()[: len(make()) * part // 20]
    for part in range(4, 10):
        yield f"{part} of 10, closed again.jpg", "CORRUPT", lambda part=part: photo()[: len(photo()) * part // 10] + b"\xff\xd9"
        yield (
            f"{part} of 10, inks, closed again.jpg",
            "CORRUPT",
            lambda part=part: inks()[: scan_at(inks()) + (len(inks()) - scan_at(inks())) * part // 10] + b"\xff\xd9",
        )
    yield "nothing.jpg", "EMPTY", lambda: b""
    yield "one byte.jpg", "TRUNCATED", lambda: b"\xff"
    yield "only the magic.png", "TRUNCATED", lambda: b"\x89PNG\r\n\x1a\n"
    yield "only the magic.webp", "TRUNCATED", lambda: b"RIFF"


def special_file() -> Part:
    def link_to(target: str) -> Callable[[Path], None]:
        return lambda path: path.symlink_to(target)

    def listen(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as server:  # the name of a socket may have 107 bytes, whatever the folder's has
            here = Path.cwd()
            os.chdir(path.parent)
            server.bind(path.name)
            os.chdir(here)

    def sparse(size: int) -> Callable[[Path], None]:
        def make(path: Path) -> None:
            with path.open("wb") as file:
                file.write(photo())
                file.truncate(size)

        return make

    yield "pipe.jpg", "SPECIAL_FILE", os.mkfifo
    yield "socket.jpg", "SPECIAL_FILE", listen
    yield "folder.jpg", "SPECIAL_FILE", Path.mkdir
    yield "link to a photo.jpg", "SYMLINK", link_to("sound.jpg")
    yield "link to nothing.jpg", "SYMLINK", link_to("nowhere.jpg")
    yield "link to the system.jpg", "SYMLINK", link_to("/etc/hostname")
    yield "link to a folder.jpg", "SYMLINK", link_to("..")
    yield "link to a device.jpg", "SYMLINK", link_to("/dev/zero")
    yield "link to itself.jpg", "SYMLINK", lambda path: path.symlink_to(path.name)
    yield "a terabyte.jpg", "TOO_LARGE", sparse(1 << 40)
    yield "a byte more than allowed.jpg", "TOO_LARGE", sparse(64 * 1024 * 1024 + 1)
    yield "64 MB of padding.jpg", "TAKEN", sparse(64 * 1024 * 1024)


def too_large() -> Part:
    yield "20000 x 20000.png", "TOO_LARGE", lambda: png_of(20000, 20000, 8, 2, b"")
    yield "1 x 2000000000.png", "TOO_LARGE", lambda: png_of(1, 2_000_000_000, 8, 0, b"")
    yield "4294967295 x 4294967295.png", "TOO_LARGE", lambda: png_of(2**32 - 1, 2**32 - 1, 8, 0, b"")
    yield "4200 x 4200, complete.png", "TOO_LARGE", lambda: encode(Image.new("L", (4200, 4200), 7), "PNG")
    yield "8193 x 1.png", "TOO_LARGE", lambda: encode(Image.new("RGB", (8193, 1)), "PNG")
    yield "65500 x 65500.jpg", "TOO_LARGE", lambda: jpeg_header(65500, 65500)
    yield "1 x 8193.jpg", "TOO_LARGE", lambda: encode(Image.new("RGB", (1, 8193)), "JPEG")
    yield "16383 x 16383.webp", "TOO_LARGE", lambda: webp_header(16383, 16383) + b"\0" * 20
    yield "16777216 x 1.webp", "TOO_LARGE", lambda: webp_header(1 << 24, 1) + b"\0" * 20
    yield (
        "8200 x 2060, complete.webp",
        "TOO_LARGE",
        lambda: encode(Image.new("RGB", (8200, 2060), "white"), "WEBP", lossless=True),
    )
    yield "9000 x 2, lossy.webp", "TOO_LARGE", lambda: encode(Image.new("RGB", (9000, 2), "white"), "WEBP", quality=50)
    yield "4096 x 4096.png", "TAKEN", lambda: encode(Image.new("RGB", (4096, 4096), "white"), "PNG")
    yield "4096 x 4096 of bits.png", "TAKEN", lambda: encode(Image.new("1", (4096, 4096), 1), "PNG")
    yield "4096 x 4096, 16 bits and alpha.png", "TAKEN", lambda: png_of(4096, 4096, 16, 6, bytes(4096 * 4096 * 8))
    yield "4096 x 4096, interlaced.png", "TAKEN", lambda: interlaced(np.full((4096, 4096, 4), 255, np.uint8), 6)
    yield "4096 x 4096.webp", "TAKEN", lambda: encode(Image.new("RGB", (4096, 4096), "white"), "WEBP", lossless=True)
    yield "4096 x 4096.jpg", "TAKEN", lambda: encode(Image.new("RGB", (4096, 4096), "white"), "JPEG")
    yield "4096 x 4096, progressive.jpg", "TAKEN", lambda: encode(Image.new("RGB", (4096, 4096)), "JPEG", progressive=True)
    yield (
        "4096 x 4096, inks.jpg",
        "TAKEN",
        lambda: encode(Image.new("CMYK", (4096, 4096)), "JPEG", icc_profile=grey_cmyk_profile()),
    )
    yield "8192 x 1.png", "TAKEN", lambda: encode(Image.new("RGB", (8192, 1)), "PNG")
    yield "1 x 8192.jpg", "TAKEN", lambda: encode(Image.new("RGB", (1, 8192)), "JPEG")
    yield "1 x 1.webp", "TAKEN", lambda: encode(Image.new("RGB", (1, 1)), "WEBP")


def no_size() -> Part:
    yield "0 x 10.png", "CORRUPT", lambda: png_of(0, 10, 8, 2, b"")
    yield "10 x 0.png", "CORRUPT", lambda: png_of(10, 0, 8, 2, b"")
    yield "0 x 16.jpg", "CORRUPT", lambda: jpeg_header(0, 16)
    yield "16 x 0.jpg", "CORRUPT", lambda: jpeg_header(16, 0)
    yield "0 x 0.webp", "CORRUPT", lambda: riff((b"VP8 ", b"\x10\0\0\x9d\x01\x2a" + bytes(24)))


def work_bomb() -> Part:
    empty = chunk(b"tEXt", b"")
    yield "20,001 chunks.png", "BUDGET", lambda: with_chunk(empty * 20_001)
    yield "4 million chunks.png", "BUDGET", lambda: with_chunk(empty * 4_000_000)
    yield "a comment of 200 MB.png", "BUDGET", lambda: with_chunk(chunk(b"zTXt", b"note\0\0" + zeros()))
    yield "an international comment.png", "BUDGET", lambda: with_chunk(chunk(b"iTXt", b"note\0\1\0\0\0" + zeros()))
    yield "a profile of 200 MB.png", "BUDGET", lambda: with_chunk(chunk(b"iCCP", b"icc\0\0" + zeros()))
    million = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(1_000_000), 9))
    yield "a hundred comments of 1 MB.png", "BUDGET", lambda: with_chunk(million * 100)
    yield "200 MB behind one pixel.png", "TAKEN", lambda: png_from([(b"IHDR", header(1, 1)), (b"IDAT", zeros()), (b"IEND", b"")])
    yield "20,001 notes.jpg", "BUDGET", lambda: after_start(photo(), segment(0xFE, b"") * 20_001)
    yield "8 million notes.jpg", "BUDGET", lambda: after_start(photo(), segment(0xFE, b"") * 8_000_000)
    yield "20 MB of filling.jpg", "TAKEN", lambda: after_start(photo(), b"\xff" * 20_000_000)
    for scans, verdict in ((20, "TAKEN"), (40, "BUDGET"), (5000, "BUDGET")):
        yield f"{scans} scans more.jpg", verdict, lambda scans=scans: many_scans(progressive(), scans)
    yield (
        "30 scans over 16 million pixels.jpg",
        "TAKEN",
        lambda: many_scans(encode(Image.new("RGB", (4096, 4096), "teal"), "JPEG", progressive=True), 20),
    )
    yield "a restart at every block.jpg", "TAKEN", lambda: jpeg(product(1, 96, 128), restart_marker_blocks=1)


def many_scans(content: bytes, more: int) -> bytes:
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * more + b"\xff\xd9"


def other_name() -> Part:
    makes: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
        "a JPEG": (photo, (".png", ".webp", ".gif", ".jpg.exe", "")),
        "a PNG": (png, (".jpg", ".jpeg", ".webp", ".bmp")),
        "a WebP": (webp, (".jpg", ".png", ".heic")),
    }
    for name, (make, suffixes) in makes.items():
        for suffix in suffixes:
            yield name + suffix, "EXTENSION", make
    for suffix in (".JPG", ".Jpeg", ".jpeg"):
        yield "loud" + suffix, "TAKEN", photo


def other_format() -> Part:
    plain = Image.fromarray(product())
    for form, suffix in (
        ("GIF", ".gif"),
        ("BMP", ".bmp"),
        ("TIFF", ".tif"),
        ("ICO", ".ico"),
        ("JPEG2000", ".jp2"),
        ("AVIF", ".avif"),
    ):
        yield f"{form}{suffix}", "FORMAT", lambda form=form: encode(plain, form)
        yield f"{form}, lying.jpg", "FORMAT", lambda form=form: encode(plain, form)
    magics = {
        "PSD": b"8BPS\0\1" + bytes(64),
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "FITS": b"SIMPLE  =                    T" + b" " * 100,
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "HEIC": b"\0\0\0\x18ftypheic" + bytes(64),
        "a film": b"\0\0\0\x18ftypmp42" + bytes(64),
        "JPEG XL": b"\xff\x0a" + bytes(64),
    }
    for name, content in magics.items():
        yield f"{name}.jpg", "FORMAT", lambda content=content: content
    others = {
        "text": b"hello, this is no picture at all",
        "a page": b"<!doctype html><html></html>",
        "a zip": b"PK\x03\x04" + bytes(60),
        "a PDF": b"%PDF-1.7\n" + bytes(60),
        "a program": b"\x7fELF\2\1\1" + bytes(60),
        "zeros": bytes(500),
        "noise": random.Random(5).randbytes(5000),
        "a script": b"#!/bin/sh\nexit 1\n",
        "a RIFF of sound": b"RIFF\x24\0\0\0WAVEfmt " + bytes(30),
        "a picture behind a zip": b"PK\x03\x04" + bytes(60) + png(),
        "a picture behind a blank": b" " + photo(),
        "base64": b"/9j/4AAQSkZJRgABAQ==",
    }
    for name, content in others.items():
        yield f"{name}.jpg", "NOT_AN_IMAGE", lambda content=content: content


def moving() -> Part:
    yield "moving.gif", "FORMAT", lambda: animated("GIF")
    yield "moving.png", "ANIMATED", lambda: animated("PNG")
    yield "moving.webp", "ANIMATED", lambda: animated("WEBP")
    frames = [Image.fromarray(product(seed)) for seed in range(3)]
    still = frames[0]
    yield (
        "moving behind a still.png",
        "ANIMATED",
        lambda: encode(still, "PNG", save_all=True, default_image=True, append_images=frames[1:]),
    )
    yield "one frame that claims to move.webp", "ANIMATED", lambda: webp_header(8, 8, flags=2) + b"\0" * 20
    yield (
        "two pictures for two eyes.jpg",
        "TAKEN",
        lambda: encode(still, "MPO", save_all=True, append_images=frames[1:], quality=95),
    )


def attached() -> Part:
    archive = b"PK\x03\x04" + bytes(30)
    for name, make in (("jpg", photo), ("png", png), ("webp", webp)):
        yield f"and a zip.{name}", "TRAILING", lambda make=make: make() + archive
        yield f"and a script.{name}", "TRAILING", lambda make=make: make() + b"<?php system($_GET['c']); ?>"
        yield f"and one byte.{name}", "TRAILING", lambda make=make: make() + b"x"
        yield f"and a megabyte of noise.{name}", "TRAILING", lambda make=make: make() + b"x" + random.Random(1).randbytes(1 << 20)
        yield f"and padding.{name}", "TAKEN", lambda make=make: make() + bytes(40)
    yield "and another.png", "TRAILING", lambda: png() + png(product(8))
    yield "and another.webp", "TRAILING", lambda: webp() + webp(product(8))
    yield "and a PNG.jpg", "TRAILING", lambda: photo() + png()
    yield "and another.jpg", "TAKEN", lambda: photo() + jpeg(product(8))
    yield "and a film.jpg", "TAKEN", lambda: photo() + b"\0\0\0\x18ftypmp42" + SECRET
    yield "and notes of a phone.jpg", "TAKEN", lambda: photo() + b"Image_UTC_Data" + SECRET + b"SEFT"
    yield "a script in a note.jpg", "TAKEN", lambda: after_start(photo(), segment(0xFE, b"<?php ?>" + SECRET))
    yield "a page in a note.png", "TAKEN", lambda: with_chunk(chunk(b"tEXt", b"Comment\0<script>alert(1)</script>" + SECRET))
    yield "a zip in a chunk.png", "TAKEN", lambda: with_chunk(chunk(b"ziPp", archive + SECRET))
    yield "a zip in a segment.jpg", "TAKEN", lambda: after_start(photo(), segment(0xEF, archive + SECRET))


def odd_exif() -> Part:
    orientation = (0x0112, 3, 1)
    blocks = {
        "GPS": exif([(0x010E, 2, len(SECRET), struct.pack("<I", 26))], SECRET),
        "cut": exif([(*orientation, b"\6\0\0\0")])[:16],
        "nothing": b"Exif\0\0",
        "one byte": b"Exif\0\0I",
        "no byte order": b"Exif\0\0XX*\0\x08\0\0\0",
        "directory beyond the end": b"Exif\0\0II*\0\xff\xff\xff\xff",
        "directory that is its own next": exif([(*orientation, b"\1\0\0\0")], link=8),
        "sub-directory that is its parent": exif([(0x8769, 4, 1, struct.pack("<I", 8)), (0x8825, 4, 1, struct.pack("<I", 8))]),
        "65,535 entries": b"Exif\0\0II*\0" + struct.pack("<IH", 8, 65535),
        "a value of 4 GB": exif([(0x010E, 2, 0xFFFFFFFF, struct.pack("<I", 8))]),
        "a million orientations": exif([(0x0112, 3, 1_000_000, struct.pack("<I", 8))]),
        "an orientation in words": exif([(0x0112, 2, 4, b"six\0")]),
        "a negative orientation": exif([(0x0112, 9, 1, struct.pack("<i", -6))]),
        "a fraction with nothing below": exif([(0x011A, 5, 1, struct.pack("<I", 26))], struct.pack("<II", 1, 0)),
        "an unknown type": exif([(0x0112, 99, 1, b"\6\0\0\0")]),
        "a photo in it": exif([], photo()[:20000], link=14),
        "a photo in a photo in it": exif([], after_start(photo(), segment(0xE1, exif([], photo()[:9000])))[:30000], link=14),
        "BigTIFF": b"Exif\0\0II+\0\x08\0\0\0" + bytes(20),
        "64 kB of noise": b"Exif\0\0" + random.Random(2).randbytes(65000),
        "64 kB of noise behind a header": b"Exif\0\0II*\0\x08\0\0\0" + random.Random(3).randbytes(65000),
        "orientation 0": exif([(*orientation, b"\0\0\0\0")]),
        "orientation 9": exif([(*orientation, b"\x09\0\0\0")]),
        "orientation 99": exif([(*orientation, b"\x63\0\0\0")]),
        "orientation 6": exif([(*orientation, b"\6\0\0\0")]),
    }
    for name, block in blocks.items():
        yield f"EXIF, {name}.jpg", "TAKEN", lambda block=block: after_start(photo(), segment(0xE1, block + SECRET))
    yield "EXIF, three of them.jpg", "TAKEN", lambda: after_start(photo(), *[segment(0xE1, blocks["GPS"])] * 3)
    yield "EXIF, GPS.png", "TAKEN", lambda: with_chunk(chunk(b"eXIf", blocks["GPS"][6:]))
    yield "EXIF, noise.png", "TAKEN", lambda: with_chunk(chunk(b"eXIf", random.Random(4).randbytes(5000) + SECRET))
    yield "EXIF, GPS.webp", "TAKEN", lambda: encode(product(), "WEBP", exif=blocks["GPS"])
    yield (
        "EXIF, noise.webp",
        "TAKEN",
        lambda: encode(product(), "WEBP", exif=b"Exif\0\0" + random.Random(4).randbytes(500) + SECRET),
    )
    about = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation='six'>" + SECRET
    yield "XMP.jpg", "TAKEN", lambda: after_start(photo(), segment(0xE1, about))
    yield (
        "XMP, a bomb of entities.jpg",
        "TAKEN",
        lambda: after_start(photo(), segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + LAUGHS)),
    )
    yield "XMP, a bomb of entities.png", "TAKEN", lambda: with_chunk(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + LAUGHS))
    note = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x10" + SECRET
    yield "IPTC.jpg", "TAKEN", lambda: after_start(photo(), segment(0xED, note))
    yield "IPTC, cut.jpg", "TAKEN", lambda: after_start(photo(), segment(0xED, note[:25]))


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">'
    + b"".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">'.encode() for i in range(9))
    + b"]><x>&j;</x>"
)


def odd_profile() -> Part:
    gamma, cmyk = gamma_profile(1.8), grey_cmyk_profile()
    profiles = {
        "text": b"not a profile at all",
        "zeros": bytes(3000),
        "noise": random.Random(6).randbytes(3000),
        "cut": gamma[:200],
        "a size that lies": patch(gamma, 0, b"\xff\xff\xff\xff"),
        "a billion tags": patch(gamma, 128, struct.pack(">I", 1_000_000_000)),
        "a tag beyond the end": patch(gamma, 136, struct.pack(">II", 0xFFFFFF00, 0xFFFFFF00)),
        "no signature": patch(gamma, 36, b"????"),
        "a printer's": cmyk,
        "a printer's that claims colours": patch(cmyk, 16, b"RGB "),
        "sound": gamma,
    }
    for name, profile in profiles.items():
        for form, suffix in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")):
            yield f"profile, {name}.{suffix}", "TAKEN", lambda f=form, p=profile: encode(product(), f, icc_profile=p)
        yield (
            f"profile, {name}, grey.jpg",
            "TAKEN",
            lambda p=profile: encode(Image.fromarray(product()).convert("L"), "JPEG", icc_profile=p),
        )
        yield (
            f"profile, {name}, inks.jpg",
            "TAKEN",
            lambda p=profile: after_start(inks(), segment(0xE2, b"ICC_PROFILE\0\1\1" + p)),
        )
    part = b"ICC_PROFILE\0"
    yield "profile, first of three.jpg", "TAKEN", lambda: after_start(photo(), segment(0xE2, part + b"\1\3" + gamma))
    yield "profile, twice the first.jpg", "TAKEN", lambda: after_start(photo(), *[segment(0xE2, part + b"\1\2" + gamma)] * 2)
    yield "profile, none of none.jpg", "TAKEN", lambda: after_start(photo(), segment(0xE2, part + b"\0\0"))
    yield "profile, no numbers.jpg", "CORRUPT", lambda: after_start(photo(), segment(0xE2, part))


def rare_jpeg() -> Part:
    at = frame_at(photo())
    for code, name in (
        (0xC3, "lossless"),
        (0xC5, "hierarchical"),
        (0xC9, "arithmetic"),
        (0xCA, "progressive arithmetic"),
        (0xCB, "lossless arithmetic"),
    ):
        yield f"{name}.jpg", "FORMAT", lambda code=code: patch(photo(), at + 1, bytes([code]))
    yield "12 bits.jpg", "FORMAT", lambda: patch(patch(photo(), at + 1, b"\xc1"), at + 4, b"\x0c")
    yield "16 bits.jpg", "FORMAT", lambda: patch(photo(), at + 4, b"\x10")
    yield "no bits.jpg", "FORMAT", lambda: patch(photo(), at + 4, b"\0")
    yield "extended, 8 bits.jpg", "TAKEN", lambda: patch(photo(), at + 1, b"\xc1")
    yield "two channels.jpg", "CORRUPT", lambda: channels(2)
    yield "five channels.jpg", "CORRUPT", lambda: channels(5)
    yield "no channels.jpg", "CORRUPT", lambda: patch(photo(), at + 9, b"\0")
    yield "255 channels.jpg", "CORRUPT", lambda: patch(photo(), at + 9, b"\xff")
    yield "two frames.jpg", "CORRUPT", lambda: photo()[:at] + photo()[at : at + 19] + photo()[at:]
    yield "no frame.jpg", "CORRUPT", lambda: photo()[:at] + photo()[at + 19 :]
    yield "a frame that is too short.jpg", "CORRUPT", lambda: photo()[:at] + segment(0xC0, b"\x08\0\x10") + photo()[at + 19 :]
    yield "tables that are missing.jpg", "CORRUPT", lambda: re.sub(rb"\xff\xdb\x00\x43.{65}", b"", photo(), flags=re.DOTALL)
    yield "a scan of another channel.jpg", "CORRUPT", lambda: patch(photo(), photo().index(b"\xff\xda") + 5, b"\x77")
    yield "sampled by zero.jpg", "CORRUPT", lambda: patch(photo(), at + 11, b"\0")
    yield "sampled by 15.jpg", "CORRUPT", lambda: patch(photo(), at + 11, b"\xff")
    yield "Huffman codes that are too many.jpg", "CORRUPT", lambda: patch(photo(), photo().index(b"\xff\xc4") + 5, b"\xff" * 16)
    yield "a length of zero.jpg", "TRUNCATED", lambda: patch(photo(), photo().index(b"\xff\xdb") + 2, b"\0\0")
    yield "a length beyond the end.jpg", "TRUNCATED", lambda: patch(photo(), photo().index(b"\xff\xda") + 2, b"\xff\xff")
    yield "taller than its data.jpg", "CORRUPT", lambda: patch(photo(), at + 5, struct.pack(">H", 4000))
    yield "zeros for data.jpg", "CORRUPT", lambda: photo()[: scan_at(photo())] + bytes(500) + b"\xff\xd9"
    yield "no data.jpg", "CORRUPT", lambda: photo()[: scan_at(photo())] + b"\xff\xd9"
    yield "tables alone.jpg", "CORRUPT", lambda: photo()[:at] + b"\xff\xd9"
    yield "a start alone.jpg", "TRUNCATED", lambda: b"\xff\xd8\xff\xe0"
    yield "a start and an end.jpg", "CORRUPT", lambda: b"\xff\xd8\xff\xd9"
    yield "a thousand starts.jpg", "CORRUPT", lambda: b"\xff\xd8" * 1000 + photo()
    yield "noise for a hole.jpg", "CORRUPT", lambda: patch(photo(), scan_at(photo()) + 400, b"\xff\xd3" * 40)
    yield "red, green and blue.jpg", "TAKEN", lambda: jpeg(product(1), keep_rgb=True)
    yield "grey.jpg", "TAKEN", lambda: encode(Image.fromarray(product()).convert("L"), "JPEG")
    yield "grey, progressive.jpg", "TAKEN", lambda: encode(Image.fromarray(product()).convert("L"), "JPEG", progressive=True)
    yield "inks.jpg", "TAKEN", inks
    yield "inks, turned round.jpg", "TAKEN", lambda: inks().replace(b"Adobe", b"Ad0be")
    yield "sampled 4:4:0.jpg", "TAKEN", lambda: jpeg(product(1), subsampling="4:2:0")


def channels(count: int) -> bytes:
    """A JPEG of that many channels, with a scan of all of them."""
    parts = b"".join(bytes([index + 1, 0x11, 0]) for index in range(count))
    frame = segment(0xC0, struct.pack(">BHHB", 8, 16, 16, count) + parts)
    scan = segment(0xDA, bytes([count]) + b"".join(bytes([index + 1, 0]) for index in range(count)) + b"\0\x3f\0")
    tables = re.search(rb"\xff\xdb.*?(?=\xff\xc0)", photo(), re.DOTALL)
    codes = re.search(rb"\xff\xc4.*(?=\xff\xda)", photo()[: scan_at(photo())], re.DOTALL)
    return b"\xff\xd8" + (tables[0] if tables else b"") + frame + (codes[0] if codes else b"") + scan + b"\x55" * 64 + b"\xff\xd9"


def broken_png() -> Part:
    sound = png_parts(png())
    data = b"".join(body for kind, body in sound if kind == b"IDAT")
    end = (b"IEND", b"")
    for bit in range(13):
        at = 16 + bit
        yield f"header byte {bit} flipped.png", "CORRUPT", lambda at=at: patch(png(), at, bytes([png()[at] ^ 0x10]))
    for part in range(1, 10):
        yield f"data bit flipped at {part} of 10.png", "CORRUPT", lambda part=part: flipped(png(), part)
    wrong = {
        "depth 3": header(4, 4, depth=3),
        "depth 0": header(4, 4, depth=0),
        "colour 5": header(4, 4, colour=5),
        "colour 255": header(4, 4, colour=255),
        "16 bits of palette": header(4, 4, depth=16, colour=3),
        "an unknown filter method": header(4, 4, filters=7),
    }
    for name, fields in wrong.items():
        yield f"{name}.png", "CORRUPT", lambda fields=fields: png_from([(b"IHDR", fields), (b"IDAT", data), end])
    yield "no data.png", "CORRUPT", lambda: png_from([sound[0], end])
    yield "data of noise.png", "CORRUPT", lambda: png_from([sound[0], (b"IDAT", random.Random(7).randbytes(900)), end])
    yield "data that stops.png", "TRUNCATED", lambda: png_from([sound[0], (b"IDAT", data[: len(data) // 2]), end])
    yield (
        "a filter of nowhere.png",
        "CORRUPT",
        lambda: png_from([(b"IHDR", header(2, 2)), (b"IDAT", zlib.compress(b"\x09" * 14)), end]),
    )
    yield "no header.png", "CORRUPT", lambda: png_from(sound[1:])
    yield "data before the header.png", "CORRUPT", lambda: png_from([*sound[1:-1], sound[0], end])
    yield "a header of 12 bytes.png", "CORRUPT", lambda: png_from([(b"IHDR", header(4, 4)[:12]), *sound[1:]])
    yield "no end.png", "TRUNCATED", lambda: png()[:-12]
    yield "a length of 4 GB.png", "TRUNCATED", lambda: patch(png(), 33, b"\xff\xff\xff\xff")
    yield "a checksum of zeros.png", "CORRUPT", lambda: patch(png(), len(png()) - 16, bytes(4))
    yield (
        "no palette.png",
        "TAKEN",
        lambda: png_from([(b"IHDR", header(2, 2, colour=3)), (b"IDAT", zlib.compress(bytes(6))), end]),
    )
    yield (
        "a colour beyond the palette.png",
        "TAKEN",
        lambda: png_of(2, 1, 8, 3, b"\x00\xff", extra=chunk(b"PLTE", b"\1\2\3")),
    )
    yield (
        "a transparency longer than the palette.png",
        "TAKEN",
        lambda: png_of(2, 1, 8, 3, b"\0\1", extra=chunk(b"PLTE", bytes(6)) + chunk(b"tRNS", bytes(256))),
    )
    yield "a gamma of zero.png", "TAKEN", lambda: with_chunk(chunk(b"gAMA", bytes(4)))
    yield "a magic with the wrong line ends.png", "NOT_AN_IMAGE", lambda: png().replace(b"\r\n\x1a\n", b"\n\x1a\n", 1)


def flipped(content: bytes, part: int) -> bytes:
    """A PNG with one bit of its data flipped."""
    start = content.index(b"IDAT") + 4
    at = start + (len(content) - 16 - start) * part // 10
    return patch(content, at, bytes([content[at] ^ 1]))


def every_png() -> Part:
    for colour, depths in ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16))):
        for depth in depths:
            bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
            rows = random.Random(depth).randbytes(-(-13 * bits // 8) * 11)
            extra = chunk(b"PLTE", random.Random(1).randbytes(3 * min(256, 1 << depth))) if colour == 3 else b""
            yield (
                f"colour {colour}, depth {depth}.png",
                "TAKEN",
                lambda d=depth, c=colour, r=rows, e=extra: png_of(13, 11, d, c, r, e),
            )
    for colour, channels_ in ((0, 1), (2, 3), (4, 2), (6, 4)):
        pixels = np.random.default_rng(colour).integers(0, 256, (21, 19, channels_), dtype=np.uint8)
        yield f"interlaced, colour {colour}.png", "TAKEN", lambda p=pixels, c=colour: interlaced(p, c)
    yield "interlaced, 1 x 1.png", "TAKEN", lambda: interlaced(np.zeros((1, 1, 3), np.uint8), 2)
    yield (
        "interlaced, cut within.png",
        "TRUNCATED",
        lambda: interlaced(np.zeros((21, 19, 3), np.uint8), 2, keep=300),
    )


def interlaced(pixels: np.ndarray, colour: int, keep: int | None = None) -> bytes:
    """An Adam7 PNG (third edition, 8.2) of 8 bits a channel; of its raw data only the first `keep` bytes."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    raw = b""
    for left, top, step_x, step_y in passes:
        part = pixels[top::step_y, left::step_x]
        if part.size:
            flat = part.reshape(len(part), -1)
            raw += np.hstack([np.zeros((len(flat), 1), np.uint8), flat]).tobytes()
    size = header(pixels.shape[1], pixels.shape[0], colour=colour, lace=1)
    return png_from([(b"IHDR", size), (b"IDAT", zlib.compress(raw[:keep])), (b"IEND", b"")])


def every_webp() -> Part:
    layers = np.dstack([product(), np.tile(np.arange(48, dtype=np.uint8) * 5, (64, 1))])
    alpha = Image.fromarray(layers)
    yield "lossy.webp", "TAKEN", lambda: encode(product(), "WEBP", quality=80)
    yield "lossy with alpha.webp", "TAKEN", lambda: encode(alpha, "WEBP", quality=80)
    yield "lossless.webp", "TAKEN", webp
    yield "lossless with alpha.webp", "TAKEN", lambda: encode(alpha, "WEBP", lossless=True)
    yield "lossless, hidden colours kept.webp", "TAKEN", lambda: encode(alpha, "WEBP", lossless=True, exact=True)
    yield "with a profile.webp", "TAKEN", lambda: encode(product(), "WEBP", icc_profile=gamma_profile(1.8))
    lossy, lossless = encode(product(), "WEBP", quality=80), webp()
    yield "an unknown chunk.webp", "CORRUPT", lambda: lossless.replace(b"VP8L", b"VP9L")
    yield "lossless data of noise.webp", "CORRUPT", lambda: patch(lossless, 25, random.Random(8).randbytes(len(lossless) - 25))
    yield "a size beyond the end.webp", "TRUNCATED", lambda: patch(lossless, 4, struct.pack("<I", len(lossless) * 2))
    yield "a size of 4 GB.webp", "TRUNCATED", lambda: patch(lossless, 4, b"\xf0\xff\xff\xff")
    yield "a size that is too small.webp", "TRAILING", lambda: patch(lossless, 4, struct.pack("<I", 40))
    yield "no picture.webp", "CORRUPT", lambda: webp_header(8, 8) + bytes(20)
    yield (
        "a canvas of another size.webp",
        "CORRUPT",
        lambda: riff((b"VP8X", b"\0\0\0\0" + b"\x63\0\0" * 2), (b"VP8 ", lossy[20:])),
    )
    yield "a key frame that is none.webp", "CORRUPT", lambda: patch(lossy, 20, bytes([lossy[20] | 1]))
    yield "no start code.webp", "CORRUPT", lambda: patch(lossy, 23, b"\0\0\0")
    yield "a first part beyond the end.webp", "CORRUPT", lambda: patch(lossy, 20, bytes([lossy[20] | 0xE0, 0xFF, 0xFF]))


def broken_magic() -> Part:
    for name, make, length in (("jpg", photo, 2), ("png", png, 8), ("webp", webp, 4)):
        for at in range(length):
            yield (
                f"magic byte {at} flipped.{name}",
                "NOT_AN_IMAGE",
                lambda at=at, make=make: patch(make(), at, bytes([make()[at] ^ 0x41])),
            )


PARTS: dict[str, Callable[[], Part]] = {
    "cut short": cut_short,
    "special file": special_file,
    "too large": too_large,
    "no size": no_size,
    "work bomb": work_bomb,
    "other name": other_name,
    "other format": other_format,
    "moving": moving,
    "attached": attached,
    "odd EXIF": odd_exif,
    "odd profile": odd_profile,
    "rare JPEG": rare_jpeg,
    "broken PNG": broken_png,
    "every PNG": every_png,
    "every WebP": every_webp,
    "broken magic": broken_magic,
}


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for one in corpus():
        one.write(target)
