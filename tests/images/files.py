"""Photo files made by the tests: sound ones, and hostile ones."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Pixels = NDArray[np.uint8]


def product(seed: int = 0, width: int = 48, height: int = 64) -> Pixels:
    """A smooth picture with a shape of its own on white; another seed shows another one."""
    chances = np.random.default_rng(seed)
    coarse = chances.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    inner = np.asarray(Image.fromarray(coarse).resize((width * 3 // 4, height * 3 // 4), Image.Resampling.BICUBIC))
    canvas = np.full((height, width, 3), 255, dtype=np.uint8)
    top, left = (height - inner.shape[0]) // 2, (width - inner.shape[1]) // 2
    canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return canvas


def encode(image: Image.Image | Pixels, form: str, **options: object) -> bytes:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    sink = io.BytesIO()
    picture.save(sink, form, **options)
    return sink.getvalue()


def jpeg(pixels: Pixels | None = None, **options: object) -> bytes:
    return encode(product() if pixels is None else pixels, "JPEG", **{"quality": 95, "subsampling": 0, **options})


def png(pixels: Pixels | None = None) -> bytes:
    return encode(product() if pixels is None else pixels, "PNG")


def webp(pixels: Pixels | None = None) -> bytes:
    return encode(product() if pixels is None else pixels, "WEBP", lossless=True)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG from its raw scanlines, each without its filter byte."""
    size = len(rows) // height if height else 0
    lines = b"".join(b"\0" + rows[start : start + size] for start in range(0, len(rows), size)) if rows else b""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def webp_header(width: int, height: int, flags: int = 0) -> bytes:
    """A WebP that promises a size and holds nothing."""
    content = bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_header(width: int, height: int) -> bytes:
    """A JPEG whose frame header promises a size."""
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\x01\x11\x00"
    return b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + frame + b"\xff\xd9"


def animated(form: str) -> bytes:
    frames = [Image.fromarray(product(seed)) for seed in range(3)]
    return encode(frames[0], form, save_all=True, append_images=frames[1:], duration=50)


def rotated(orientation: int, pixels: Pixels) -> bytes:
    """A JPEG-free (lossless PNG) file that says by EXIF how its pixels are turned; shown upright it is `pixels`."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = Image.fromarray(pixels)
    if orientation in undo:
        image = image.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "taken at home"
    return encode(image, "PNG", exif=exif)


def gamma_profile(gamma: float) -> bytes:
    """A matrix profile with sRGB's primaries and another tone curve."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = bytearray(srgb)
    count = struct.unpack_from(">I", data, 128)[0]
    curve = b"curv" + b"\0" * 4 + struct.pack(">I", 1) + struct.pack(">H", round(gamma * 256))
    start = len(data) + (-len(data)) % 4
    data += b"\0" * (start - len(data)) + curve + b"\0" * ((-len(curve)) % 4)
    for index in range(count):
        at = 132 + 12 * index
        if bytes(data[at : at + 4]) in (b"rTRC", b"gTRC", b"bTRC"):
            struct.pack_into(">II", data, at + 4, start, len(curve))
        if bytes(data[at : at + 4]) == b"desc":
            offset, size = struct.unpack_from(">II", data, at + 4)
            data[offset : offset + size] = (
                bytes(data[offset : offset + size])
                .replace("sRGB".encode("utf-16-be"), "abcd".encode("utf-16-be"))
                .replace(b"sRGB", b"abcd")
            )
    struct.pack_into(">I", data, 0, len(data))
    return bytes(data)
