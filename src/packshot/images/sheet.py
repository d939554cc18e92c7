"""Contact sheets: many pictures on one, with names that can be read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

GAP = 4
LINE = 15
"""Pixels between pictures; height of a line of text."""
PAPER, INK = (255, 255, 255), (40, 40, 40)


def contact_sheet(images: Pixels, columns: int, labels: Sequence[str] | None = None, scale: int = 1) -> Pixels:
    """Lay pictures out in rows of `columns`, each enlarged `scale` times without smoothing, a label below each.

    `images` are uint8, (N, 3, H, W) or (N, H, W, 3), N of at least 1; `labels` are N texts in any script. A label that is wider
    than its cell widens the cells (to 96 pixels) and is then cut with an ellipsis. Returns uint8 (H, W, 3).
    """
    if columns < 1 or scale < 1:
        raise ValueError("columns and scale are at least 1")
    tiles = _channels_last(images)
    if labels is not None and len(labels) != len(tiles):
        raise ValueError(f"{len(labels)} labels for {len(tiles)} pictures")
    tiles = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = tiles.shape[1:3]
    cell = width if labels is None else max(width, min(96, max(_text_width(label) for label in labels)))
    step_y, step_x = height + GAP + (LINE if labels is not None else 0), cell + GAP
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * step_y + GAP, columns * step_x + GAP, 3), PAPER, dtype=np.uint8)
    corners = [(GAP + index // columns * step_y, GAP + index % columns * step_x) for index in range(len(tiles))]
    for tile, (top, left) in zip(tiles, corners, strict=True):
        inset = left + (cell - width) // 2
        sheet[top : top + height, inset : inset + width] = tile
    return (
        sheet
        if labels is None
        else _write(sheet, [(left, top + height, text) for (top, left), text in zip(corners, labels, strict=True)], cell)
    )


def add_title(sheet: Pixels, title: str) -> Pixels:
    """The sheet, uint8 (H, W, 3), below a line of text; it grows wider where the line needs it."""
    height, width = sheet.shape[:2]
    wide = max(width, _text_width(title) + 2 * GAP)
    titled = np.full((height + LINE + GAP, wide, 3), PAPER, dtype=np.uint8)
    titled[LINE + GAP :, :width] = sheet
    return _write(titled, [(GAP, GAP, title)], _text_width(title))


def encode_png(pixels: Pixels) -> bytes:
    """The PNG of a picture, uint8 (H, W, 3) RGB: lossless, without metadata, the same bytes for the same pixels."""
    import cv2

    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"a picture is uint8 (H, W, 3), not {pixels.dtype} {pixels.shape}")
    done, encoded = cv2.imencode(".png", cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR), _png_flags())
    if not done:
        raise ValueError("the picture cannot be encoded")
    return bytes(encoded)


def _png_flags() -> tuple[int, ...]:
    """Differences to the row above, Huffman codes, no search for repeats (benchmarks/decode.md); named, since defaults change."""
    import cv2

    return (
        *(cv2.IMWRITE_PNG_COMPRESSION, 1),
        *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY),
        *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
    )


def decode_png(content: bytes) -> Pixels:
    """The picture, uint8 (H, W, 3) RGB, that `encode_png` encoded. Raises ValueError where it is none."""
    import cv2

    colours = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB) if content else None
    if colours is None:
        raise ValueError("not a PNG")
    return np.asarray(colours, dtype=np.uint8)


def _channels_last(images: Pixels) -> Pixels:
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
        raise ValueError(f"pictures are uint8 (N, 3, H, W) or (N, H, W, 3) with N >= 1, not {images.dtype} {images.shape}")
    if images.shape[1] == 3 and images.shape[3] != 3:
        return images.transpose(0, 2, 3, 1)
    if images.shape[3] == 3:
        return images
    raise ValueError(f"pictures have 3 channels, not the shape {images.shape}")


def _write(sheet: Pixels, texts: Sequence[tuple[int, int, str]], cell: int) -> Pixels:
    from PIL import Image, ImageDraw

    canvas = Image.fromarray(sheet)
    draw = ImageDraw.Draw(canvas)
    for left, top, text in texts:
        short = _shorten(text, cell)
        draw.text((left + (cell - _text_width(short)) // 2, top + 1), short, fill=INK, font=_font())
    return np.asarray(canvas)


def _shorten(text: str, width: int) -> str:
    if _text_width(text) <= width:
        return text
    while text and _text_width(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _text_width(text: str) -> int:
    return int(np.ceil(_font().getlength(text)))


@lru_cache(maxsize=1)
def _font() -> Any:
    """DejaVu Sans, which comes with matplotlib and knows Latin, Greek, Cyrillic, Hebrew, Arabic and many signs."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 11)
