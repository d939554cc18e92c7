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
    data[24:36] = bytes(12)  # when it was made
    return bytes(data)


def grey_cmyk_profile() -> bytes:
    """A printer's profile (ICC.1:2001, lut8) in which every ink is grey: L = 100 x (1 - the mean of C, M, Y and K)."""
    corners = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    table = b"".join(bytes([round(255 * (1 - sum(inks) / 4)), 128, 128]) for inks in corners)
    identity = struct.pack(">9i", *(65536 if index % 4 == 0 else 0 for index in range(9)))
    ramp = bytes(range(256))
    lut = b"mft1" + b"\0" * 4 + bytes([4, 3, 2, 0]) + identity + ramp * 4 + table + ramp * 3
    text = b"grey inks\0"
    desc = b"desc" + b"\0" * 4 + struct.pack(">I", len(text)) + text + b"\0" * (4 + 4 + 2 + 1 + 67)
    white = b"XYZ " + b"\0" * 4 + struct.pack(">3i", *(round(value * 65536) for value in (0.9642, 1.0, 0.8249)))
    parts, body, tags = [(b"desc", desc), (b"wtpt", white), (b"A2B0", lut)], b"", b""
    start = 128 + 4 + 12 * len(parts)
    for name, content in parts:
        tags += name + struct.pack(">II", start + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(body), b"\0" * 4, 0x02100000, b"prtr", b"CMYK", b"Lab ")
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    header += struct.pack(">3i", *(round(value * 65536) for value in (0.9642, 1.0, 0.8249)))
    return header + b"\0" * (128 - len(header)) + struct.pack(">I", len(parts)) + tags + body
