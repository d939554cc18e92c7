"""Small members of every family, and photos that are quick to learn."""

from __future__ import annotations

import torch

from packshot.models import AnyModel, gan, vae
from packshot.models.base import Batch, ImageModel
from packshot.records import ImageSpec

IMAGE = ImageSpec(size=16)
CATEGORIES = ("hat", "mug", "shoe")

SMALL: dict[str, AnyModel] = {
    "vae-flow": vae.Config(
        latent=8,
        width=8,
        learning_rate=5e-3,
        polish=vae.Polish(critic_width=4, penalty_every=4),
        prior=vae.FlowPrior(width=32, blocks=2, batch_size=32, steps=10, learning_rate=5e-3),
    ),
    "vae-gaussians": vae.Config(latent=8, width=8, learning_rate=5e-3, polish=None, prior=vae.GaussianPrior()),
    "gan": gan.Config(
        latent=8, width=8, learning_rate=2e-3, penalty=1.0, penalty_every=4, search=gan.Search(steps=30, candidates=64)
    ),
}


def build(name: str, seed: int = 1) -> ImageModel:
    torch.manual_seed(seed)
    return SMALL[name].build(IMAGE, CATEGORIES).eval()


def toy_pixels(count: int = 96, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 photos (N, 3, 16, 16) and categories: a square on white, whose colour is its category's and whose place varies."""
    rng = torch.Generator().manual_seed(seed)
    categories = torch.arange(count) % len(CATEGORIES)
    pixels = torch.full((count, 3, IMAGE.size, IMAGE.size), 255, dtype=torch.uint8)
    for row, category in enumerate(categories.tolist()):
        top, left = torch.randint(1, 5, (2,), generator=rng).tolist()
        pixels[row, :, top : top + 10, left : left + 10] = 30
        pixels[row, category, top : top + 10, left : left + 10] = 220
    return pixels, categories


def toy_batch(count: int = 24) -> Batch:
    pixels, categories = toy_pixels(count)
    images = pixels.float() / 127.5 - 1
    return Batch(images, categories, torch.arange(count), torch.zeros(count, dtype=torch.bool))
