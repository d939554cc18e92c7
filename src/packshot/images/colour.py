"""From whatever colours a file has to 8-bit sRGB on a declared background, upright."""

from __future__ import annotations

import io
import warnings
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from pydantic import Field

Pixels = NDArray[np.uint8]

Colour = tuple[int, int, int]
"""Red, green, blue, each 0..255."""

HexColour = Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]
"""A colour as people write it: '#ffffff'."""

_ORIENTATION = 0x0112
_FLIPS = {2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}
"""By orientation: whether the rows and the columns run backwards, after rows and columns change places from 5 on."""


def parse_colour(text: HexColour) -> Colour:
    """The colour that '#rrggbb' names."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def flatten(image: Image.Image, content: bytes, background: Colour) -> Image.Image:
    """A loaded picture, whose file is `content`, as RGB: 16 bits scaled to 8, colours to sRGB, transparency over `background`."""
    wide = _scale_16_bits(image, content)
    picture = image if wide is None else wide
    profile = image.info.get("icc_profile")
    if picture.mode == "CMYK":
        return _to_srgb(picture, profile) or picture.convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        colours = _to_srgb(layer.convert("RGB"), profile) or layer.convert("RGB")
        sheet = Image.new("RGB", layer.size, background)
        sheet.paste(colours, mask=layer.getchannel("A"))
        return sheet
    return _to_srgb(picture, profile) or picture.convert("RGB")


def orient(picture: Image.Image, source: Image.Image) -> Pixels:
    """The pixels, turned as the EXIF of `source` says; a broken or unknown orientation turns nothing."""
    try:
        orientation = source.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF is free-form, and so are the ways in which it breaks
        orientation = 1
    return turn(np.array(picture), orientation)


def orientation_of(exif: bytes) -> Any:
    """The orientation that an EXIF block, from 'Exif' on, speaks of; 1, upright, where it speaks of none or is broken."""
    if not exif:
        return 1
    tags = Image.Exif()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tags.load(exif)
            return tags.get(_ORIENTATION, 1)
        except Exception:  # as above
            return 1


def turn(pixels: Pixels, orientation: Any) -> Pixels:
    """Pixels (H, W, 3) turned upright from one of EXIF's orientations 2 to 8; any other leaves them as they are."""
    if not isinstance(orientation, int) or not 2 <= orientation <= 8:
        return pixels
    upright = pixels.transpose(1, 0, 2) if orientation >= 5 else pixels
    down, right = _FLIPS[orientation]
    return np.ascontiguousarray(upright[:: -1 if down else 1, :: -1 if right else 1])


def _scale_16_bits(image: Image.Image, content: bytes) -> Image.Image | None:
    """A 16-bit PNG at 8 bits: 65535 becomes 255 by division by 257, where Pillow clips grey and drops the low byte of colours."""
    if image.format != "PNG" or content[24] != 16:
        return None
    import cv2

    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.uint16)
        grey = Image.fromarray(_divide(values))
        key = image.info.get("transparency")
        if key is not None:
            grey.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
        return grey
    if "transparency" in image.info:
        return None
    colours: NDArray[Any] | None = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if colours is None or colours.dtype != np.uint16 or colours.ndim != 3 or colours.shape[:2] != (image.height, image.width):
        return None
    order = cv2.COLOR_BGRA2RGBA if colours.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return Image.fromarray(np.asarray(cv2.cvtColor(_divide(colours), order)))


def _divide(values: NDArray[np.uint16]) -> Pixels:
    """Rounded to the nearest; no value lies in the middle, for 257 is odd."""
    import cv2

    return np.asarray(cv2.convertScaleAbs(values, alpha=1 / 257), dtype=np.uint8)


def _to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image | None:
    """The picture through its colour profile, or None where there is none that fits."""
    if not profile or picture.mode not in ("RGB", "CMYK", "L"):
        return None
    try:
        transform = _transform(profile, picture.mode)
        return None if transform is None else ImageCms.applyTransform(picture, transform)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def is_srgb(profile: bytes) -> bool:
    """Whether a profile says that colours are as they are shown; a broken one does not."""
    try:
        return _transform(profile, "RGB") is None
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if mode == "RGB" and "sRGB" in (ImageCms.getProfileDescription(source) or ""):
        return None
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
