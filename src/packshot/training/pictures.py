"""Pictures of a model in training: always of the same latents, so that two of them can be compared."""

from __future__ import annotations

import torch

from packshot.images.pixels import to_pixels
from packshot.images.sheet import Pixels, contact_sheet
from packshot.models.base import ImageModel

COLUMNS = 8
LARGEST_ROWS = 16


def sample_sheet(model: ImageModel) -> Pixels:
    """A row of samples for each category (the first 16), the seeds 0 to 7 in every row, uint8 (H, W, 3)."""
    names = model.categories[:LARGEST_ROWS]
    device = next(model.parameters()).device
    categories = torch.arange(len(names), device=device).repeat_interleave(COLUMNS)
    pictures = to_pixels(model.sample(categories, list(range(COLUMNS)) * len(names))).cpu().contiguous().numpy()
    labels = [name if column == 0 else "" for name in names for column in range(COLUMNS)]
    return contact_sheet(pictures, COLUMNS, labels, scale=max(1, 64 // model.image.size))
