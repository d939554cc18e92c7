"""Pictures of a model in training: always of the same latents, so that two of them can be compared."""

from __future__ import annotations

import torch
from torch import Tensor

from packshot.images.pixels import to_pixels
from packshot.images.sheet import Pixels, add_title, contact_sheet
from packshot.models.base import ImageModel, seeded_normal

COLUMNS = 8
LARGEST_ROWS = 16
PSIS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
TRUNCATED_SEEDS = (0, 1)
"""Of each category on the truncation sheet: two show that variety goes, too."""
LONGEST_NAME = 9
"""Characters of a category's name beside a number."""


def sample_sheet(model: ImageModel) -> Pixels:
    """A row of samples for each category (the first 16), the seeds 0 to 7 in every row, uint8 (H, W, 3)."""
    names = model.categories[:LARGEST_ROWS]
    categories = _rows_of(model, len(names), COLUMNS)
    pictures = _to_pictures(model.sample(categories, list(range(COLUMNS)) * len(names)))
    labels = [name if column == 0 else "" for name in names for column in range(COLUMNS)]
    return contact_sheet(pictures, COLUMNS, labels, scale=_scale(model))


def interpolation_sheet(model: ImageModel) -> Pixels:
    """A row for each category (the first 16): from the sample of seed 0 to that of seed 1 in seven equal steps."""
    names = model.categories[:LARGEST_ROWS]
    start, end = seeded_normal((0, 1), model.noise_shape)
    shares = [column / (COLUMNS - 1) for column in range(COLUMNS)]
    way = torch.stack([interpolate(start, end, share) for share in shares])
    categories = _rows_of(model, len(names), COLUMNS)
    pictures = _to_pictures(model.draw(torch.cat([way] * len(names)).to(categories.device), categories))
    labels = [f"{share:.0%}" if share else name for name in names for share in shares]
    sheet = contact_sheet(pictures, COLUMNS, labels, scale=_scale(model))
    return add_title(sheet, "From the picture of seed 0 (left) to that of seed 1 (right), in equal steps")


def truncation_sheet(model: ImageModel) -> Pixels:
    """Two rows for each category (the first 8), of one noise each: the truncation rises from 0.4 to 1 along the row."""
    names = model.categories[: LARGEST_ROWS // len(TRUNCATED_SEEDS)]
    rows = len(names) * len(TRUNCATED_SEEDS)
    categories = _rows_of(model, len(names), len(TRUNCATED_SEEDS))
    noise = seeded_normal(TRUNCATED_SEEDS * len(names), model.noise_shape).to(categories.device)
    columns = [_to_pictures(model.draw(noise, categories, truncation=psi)) for psi in PSIS]
    pictures = torch.from_numpy(columns[0]).new_empty((rows, len(PSIS), *columns[0].shape[1:])).numpy()
    for column, drawn in enumerate(columns):
        pictures[:, column] = drawn
    labels = [
        f"{shorten(name)} {psi:g}" if psi == PSIS[0] else f"{psi:g}" for name in names for _ in TRUNCATED_SEEDS for psi in PSIS
    ]
    sheet = contact_sheet(pictures.reshape(-1, *pictures.shape[2:]), len(PSIS), labels, scale=_scale(model))
    return add_title(sheet, "The same picture at rising truncation: the most typical left, as it is drawn right (1)")


def interpolate(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Noise on the great circle from `start` to `end`, of one shape; exactly these at the shares 0 and 1.

    Shoemake (1985): a straight line would lead through noise that is too short to be normal, and to pictures without contrast.
    """
    if share in {0.0, 1.0}:
        return end if share else start
    cosine = torch.dot(start.flatten(), end.flatten()).double() / (start.double().norm() * end.double().norm())
    angle = torch.acos(cosine.clamp(-1, 1))
    if angle.sin() < 1e-6:
        return torch.lerp(start, end, share)
    weights = (torch.stack((angle * (1 - share), angle * share)).sin() / angle.sin()).to(start.dtype)
    return weights[0] * start + weights[1] * end


def shorten(name: str) -> str:
    """A category's name that leaves room for a number beside it."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _rows_of(model: ImageModel, names: int, columns: int) -> Tensor:
    return torch.arange(names, device=next(model.parameters()).device).repeat_interleave(columns)


def _to_pictures(images: Tensor) -> Pixels:
    pictures: Pixels = to_pixels(images).cpu().contiguous().numpy()
    return pictures


def _scale(model: ImageModel) -> int:
    return max(1, 64 // model.image.size)
