"""The sheets that a run leaves: the same latents always, ends that are samples, labels that explain them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import geometric_slerp

from packshot.images.pixels import to_pixels
from packshot.images.sheet import encode_png
from packshot.models.base import seeded_normal
from packshot.training import pictures
from packshot.training.pictures import PSIS, interpolate, interpolation_sheet, truncation_sheet
from tests.models.families import CATEGORIES, SMALL, build


@given(st.integers(0, 2**32), st.integers(2, 40), st.floats(0.01, 0.99))
@settings(max_examples=40, deadline=None)
def test_noise_on_the_way_is_scipys_on_the_sphere_and_as_long_as_its_ends(seed: int, size: int, share: float) -> None:
    start, end = seeded_normal((seed, seed + 1), (size,))
    start, end = start.double() / start.double().norm(), end.double() / end.double().norm()
    expected = geometric_slerp(start.numpy(), end.numpy(), share, tol=1e-6)
    assert interpolate(start, end, share).numpy() == pytest.approx(expected, abs=1e-6)
    assert interpolate(start.float(), end.float(), share).norm().item() == pytest.approx(1.0, abs=1e-3)


def test_the_ends_of_the_way_are_the_noise_itself() -> None:
    start, end = seeded_normal((0, 1), (3, 2, 2))
    assert torch.equal(interpolate(start, end, 0.0), start)
    assert torch.equal(interpolate(start, end, 1.0), end)
    assert torch.equal(interpolate(start, start, 0.3), start), "the same noise twice is no way"


class Drawn:
    """What contact_sheet is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tiles = np.empty(0)
        self.labels: list[str] = []
        whole = pictures.contact_sheet

        def note(images: np.ndarray, columns: int, labels: list[str], scale: int = 1) -> np.ndarray:
            self.tiles, self.labels, self.columns = images.reshape(-1, columns, *images.shape[1:]), labels, columns
            return whole(images, columns, labels, scale)

        monkeypatch.setattr(pictures, "contact_sheet", note)


@pytest.mark.parametrize("name", SMALL)
def test_interpolations_begin_and_end_in_samples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, drawn = build(name), Drawn(monkeypatch)
    sheet = interpolation_sheet(model)
    with torch.no_grad():
        for row in range(len(CATEGORIES)):
            ends = to_pixels(model.sample(torch.tensor([row, row]), [0, 1])).numpy().astype(int)
            assert np.abs(drawn.tiles[row, [0, -1]].astype(int) - ends).max() <= 1, "rounding of another batch at most"
    assert drawn.labels[:3] == ["hat", "14%", "29%"]
    assert drawn.labels[7] == "100%"
    assert encode_png(interpolation_sheet(model)) == encode_png(sheet)


@pytest.mark.parametrize("name", SMALL)
def test_truncated_pictures_end_in_samples_and_grow_alike_before(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, drawn = build(name), Drawn(monkeypatch)
    sheet = truncation_sheet(model)
    rows = drawn.tiles.astype(int)
    assert rows.shape[:2] == (2 * len(CATEGORIES), len(PSIS))
    with torch.no_grad():
        for row in range(len(rows)):
            sample = to_pixels(model.sample(torch.tensor([row // 2]), [row % 2]))[0].numpy().astype(int)
            assert np.abs(rows[row, -1] - sample).max() <= 1
    apart = np.abs(rows[0::2] - rows[1::2]).mean(axis=(0, 2, 3, 4))
    assert apart[0] <= apart[-1] + 1e-9, "two seeds are no further apart where they are truncated"
    assert drawn.labels[:2] == ["hat 0.4", "0.5"]
    assert encode_png(truncation_sheet(model)) == encode_png(sheet)


def test_a_long_name_leaves_room_for_the_number() -> None:
    assert [pictures.shorten(name) for name in ("hat", "longsleeve-shirt")] == ["hat", "longslee…"]
