"""Photo files to pixels: every byte is decoded, and whatever is doubtful is refused with a reason code.

Reason codes: EMPTY (no bytes) · TRUNCATED (the end is missing) · NOT_AN_IMAGE · FORMAT (an image, but not JPEG, PNG or WebP, or
coded as only some decoders know) · EXTENSION (named as something else than it is) · TOO_LARGE (pixels, sides or bytes past the
limits; judged from the header) · BUDGET (within those, but decoding it takes more memory, parts or passes than a photo may) ·
ANIMATED · TRAILING (something else is glued to the end) · CORRUPT (checksums or codes are wrong) · SYMLINK · SPECIAL_FILE ·
UNREADABLE (the system refuses to read it).
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from packshot.images.colour import Colour, HexColour, flatten, is_srgb, orient, orientation_of, parse_colour, turn
from packshot.images.skeleton import MAX_BYTES, MAX_PIXELS, MAX_SIDE, Format, PictureError, Skeleton, inspect

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "SUFFIXES",
    "VERSION",
    "Decoded",
    "Format",
    "PictureError",
    "Recipe",
    "decode",
    "read_file",
]

Pixels = NDArray[np.uint8]

VERSION = "2"
"""Of what becomes of bytes here, in images.resize and in encode_png: it changes when what is stored or a refusal does."""

SUFFIXES: dict[str, Format] = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
"""The endings that photos may have, and what each must hold."""


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
    skeleton = inspect(content)
    if suffix is not None and SUFFIXES.get(suffix.lower()) != skeleton.format:
        raise PictureError("EXTENSION", f"named '{suffix}' but holds a {skeleton.format}")
    try:
        pixels = _decode_jpeg(content, skeleton) if skeleton.format == "JPEG" else None
        return Decoded(_decode_any(content, skeleton.format, background) if pixels is None else pixels, skeleton.format)
    except MemoryError as error:
        raise PictureError("BUDGET", "decoding it needs more memory than a photo may take") from error


def _decode_jpeg(content: bytes, skeleton: Skeleton) -> Pixels | None:
    """A JPEG's pixels in half of Pillow's time, or None where more than libjpeg-turbo is needed to know its colours.

    Every JPEG of known channels passes here, whoever decodes it in the end: Pillow does not tell of lost data within the picture,
    and paints it grey. Raises PictureError.
    """
    if skeleton.channels not in _LAYOUTS:
        return None
    import simplejpeg

    try:
        pixels: Pixels = simplejpeg.decode_jpeg(content, _LAYOUTS[skeleton.channels], strict=True)
    except ValueError as error:
        for trouble, reason in _LOST.items():
            if trouble in str(error):
                raise PictureError(reason, str(error)[:200]) from error
        return None
    shown = not skeleton.profile or (skeleton.channels == 3 and is_srgb(skeleton.profile))
    return turn(pixels, orientation_of(skeleton.exif)) if skeleton.plain and shown and skeleton.channels != 4 else None


_LAYOUTS = {1: "RGB", 3: "RGB", 4: "CMYK"}
_LOST = {
    "premature end of data segment": "CORRUPT",
    "bad Huffman code": "CORRUPT",
    "resync": "CORRUPT",
    "Premature end of JPEG file": "TRUNCATED",
    "Insufficient memory": "BUDGET",
}
"""What libjpeg-turbo says where it made data up or gave up, and what that is."""


def _decode_any(content: bytes, form: Format, background: Colour) -> Pixels:
    """The pixels of a file of a known format, by Pillow. Raises PictureError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(content), formats=[form]) as image:
                if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
                    raise PictureError("ANIMATED", "more than one frame")
                _load(image)
                return orient(flatten(image, content, background), image)
        except (PictureError, MemoryError):
            raise
        except Image.DecompressionBombError as error:
            raise PictureError("TOO_LARGE", str(error)) from error
        except Exception as error:  # Pillow's parsers raise whatever a hostile file makes them raise
            raise PictureError(_reason(str(error).lower()), f"{type(error).__name__}: {error}"[:200]) from error


def _reason(trouble: str) -> str:
    """What Pillow's complaint amounts to; 'too large' is text or a profile that unpacks to more than a photo has to say."""
    if "truncated" in trouble:
        return "TRUNCATED"
    return "BUDGET" if "too large" in trouble or "too much memory" in trouble else "CORRUPT"


def _load(image: Image.Image) -> None:
    """Decode every pixel; a missing end is an error even where another library made Pillow forgiving."""
    forgiving, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        image.load()
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = forgiving
