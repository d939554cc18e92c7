from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from packshot.images.sheet import GAP, contact_sheet, decode_png, encode_png
from tests.images.files import product

TILES = np.stack([product(seed, 32, 32) for seed in range(5)])


def test_every_picture_stands_on_the_sheet_pixel_by_pixel() -> None:
    sheet = contact_sheet(TILES, columns=3)
    assert sheet.shape == (2 * (32 + GAP) + GAP, 3 * (32 + GAP) + GAP, 3)
    for index, tile in enumerate(TILES):
        top, left = GAP + index // 3 * (32 + GAP), GAP + index % 3 * (32 + GAP)
        assert np.array_equal(sheet[top : top + 32, left : left + 32], tile)


def test_channels_may_come_first() -> None:
    assert np.array_equal(contact_sheet(TILES.transpose(0, 3, 1, 2), columns=2), contact_sheet(TILES, columns=2))


def test_enlarging_repeats_pixels() -> None:
    sheet = contact_sheet(TILES[:1], columns=1, scale=3)
    assert np.array_equal(sheet[GAP : GAP + 96 : 3, GAP : GAP + 96 : 3], TILES[0])


def test_labels_are_drawn_below_and_leave_the_pictures_alone() -> None:
    sheet = contact_sheet(TILES, columns=5, labels=["t-shirt", "платье", "φόρεμα", "a much too long label for this", ""])
    plain = contact_sheet(np.full_like(TILES, 255), columns=5, labels=[""] * 5)
    ink = (sheet < 128).all(axis=2)[GAP + 32 :]
    assert sheet.shape[0] == plain.shape[0]
    assert ink.sum() > 100
    columns = [tile for tile in range(sheet.shape[1] - 31) if np.array_equal(sheet[GAP : GAP + 32, tile : tile + 32], TILES[2])]
    assert len(columns) == 1


def test_the_same_pictures_give_the_same_bytes_and_come_back() -> None:
    sheet = contact_sheet(TILES, columns=2, labels=list("abcde"))
    first, second = encode_png(sheet), encode_png(sheet)
    assert first == second
    assert np.array_equal(decode_png(first), sheet)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(first))), sheet)


@pytest.mark.parametrize(
    ("images", "columns", "labels"),
    [
        (TILES[:0], 2, None),
        (TILES.astype(np.float32), 2, None),
        (TILES[..., :2], 2, None),
        (TILES, 0, None),
        (TILES, 2, ["one"]),
    ],
)
def test_what_is_no_sheet_is_refused(images: np.ndarray, columns: int, labels: list[str] | None) -> None:
    with pytest.raises(ValueError, match=r"."):
        contact_sheet(images, columns, labels)


def test_what_is_no_png_is_refused() -> None:
    for content in (b"", b"no picture"):
        with pytest.raises(ValueError, match="PNG"):
            decode_png(content)
