"""Small pictures of ingested photos that travel inside a page."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from packshot.images.resize import fit_square
from packshot.images.sheet import Pixels, decode_png
from packshot.images.store import read_some

SIDE = 104
_QUALITY = 80
_PAPER = (255, 255, 255)


class Thumbnails:
    """Data URIs of the photos of a manifest, at most `most` in all: a page stays small whatever the catalogue.

    Only the row groups that hold a wanted photo are read. `rows` needs the columns sha256, shard and row.
    """

    def __init__(self, rows: pa.Table, folder: Path, most: int) -> None:
        self._rows, self._folder, self._left = rows, folder, most
        self._known: dict[int, str] = {}

    def draw(self, indices: Sequence[int]) -> list[str]:
        """A JPEG of each of these rows, in their order; '' for those beyond what a page may hold."""
        shown = indices[: self._left]
        self._left -= len(shown)
        new = [index for index in dict.fromkeys(shown) if index not in self._known]
        for index, pixels in read_pixels(self._rows, new, self._folder).items():
            self._known[index] = encode_thumbnail(pixels)
        return [self._known[index] for index in shown] + [""] * (len(indices) - len(shown))


def read_pixels(rows: pa.Table, indices: Sequence[int], folder: Path) -> dict[int, Pixels]:
    """The photos of these rows of a manifest as they were ingested, from the shards in `folder`: {index: uint8 (H, W, 3)}.

    Raises IntegrityError where a shard does not hold what the manifest says.
    """
    chosen = rows.select(["sha256", "shard", "row"]).take(pa.array(indices, pa.int64())).to_pylist()
    wanted: dict[str, list[int]] = defaultdict(list)
    for row in chosen:
        wanted[row["shard"]].append(row["row"])
    pictures = dict(read_some(folder, wanted))
    return {index: decode_png(pictures[row["sha256"]]) for index, row in zip(indices, chosen, strict=True)}


def encode_thumbnail(pixels: Pixels) -> str:
    """A picture as a small JPEG in a data URI, padded to a square on white."""
    import cv2

    small = fit_square(pixels, SIDE, _PAPER)
    _, encoded = cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(bytes(encoded)).decode()}"
