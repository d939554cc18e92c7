"""Small members of every family, and photos that are quick to learn."""

from __future__ import annotations

import torch

from packshot.images.shards import Split
from packshot.models import AnyModel, gan, stylegan2, vae
from packshot.models.augment import Adaptive
from packshot.models.base import Batch, ImageModel
from packshot.records import Condition, ImageSpec

IMAGE = ImageSpec(size=16)
CATEGORIES = ("hat", "mug", "shoe")
CONDITIONS = (Condition(name="shade", kind="label", values=("dark", "light")), Condition(name="price", kind="number", mean=9.0))

SMALL: dict[str, AnyModel] = {
    "vae-flow": vae.Config(
        latent=8,
        width=8,
        learning_rate=5e-3,
        polish=vae.Polish(critic_width=4, penalty_every=4),
        prior=vae.FlowPrior(width=32, blocks=2, batch_size=32, steps=10, learning_rate=5e-3),
    ),
    "vae-gaussians": vae.Config(latent=8, width=8, learning_rate=5e-3, polish=None, prior=vae.GaussianPrior()),
    "vae-grid": vae.Config(
        latent=vae.Grid(factor=4, channels=2),
        width=8,
        learning_rate=5e-3,
        perceptual=vae.Perceptual(width=4),
        polish=vae.Polish(critic_width=4, penalty_every=4),
        prior=vae.FlowPrior(width=32, blocks=2, patch=2, batch_size=32, steps=10, learning_rate=5e-3),
    ),
    "vae-grid-gaussians": vae.Config(
        latent=vae.Grid(factor=8, channels=2), width=4, learning_rate=5e-3, polish=None, prior=vae.GaussianPrior()
    ),
    "gan": gan.Config(
        latent=8, width=8, learning_rate=2e-3, penalty=1.0, penalty_every=4, search=gan.Search(steps=30, candidates=64)
    ),
    "gan-classic": gan.Config(
        latent=8,
        width=8,
        upsampling="transposed",
        critic="normalised",
        loss="non_saturating",
        momentum=0.5,
        penalty=0.0,
        augment=None,
        half_life=0,
        search=gan.Search(steps=30, candidates=64),
    ),
    "gan-adaptive": gan.Config(
        latent=8,
        width=8,
        loss="hinge",
        learning_rate=2e-3,
        penalise_drawn=False,
        penalty_every=4,
        augment=gan.Adaptive(images=200, every=2),
        search=gan.Search(steps=30, candidates=64),
    ),
    "stylegan2": stylegan2.Config(
        latent=8,
        capacity=64,
        widest=8,
        learning_rate=2.5e-3,
        game="non_saturating",
        augment=Adaptive(),
        penalty=0.01,
        penalty_every=4,
        path_length=2.0,
        path_length_every=3,
        search=stylegan2.Search(steps=30, candidates=64),
    ),
}


def build(name: str, seed: int = 1, conditions: tuple[Condition, ...] = ()) -> ImageModel:
    torch.manual_seed(seed)
    return SMALL[name].build(IMAGE, CATEGORIES, conditions).eval()


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


def toy_conditions(count: int = 96) -> torch.Tensor:
    """What is known of the toy photos, as CONDITIONS have it, (N, 4): of each fourth photo no shade, of each fifth no price."""
    rows = torch.arange(count)
    shade = torch.nn.functional.one_hot(rows // 3 % 2, 2) * (rows % 4 != 3)[:, None]
    known = rows % 5 != 4
    return torch.cat((shade, (torch.sin(rows) * known)[:, None], known[:, None]), dim=1).float()


def toy_split(count: int = 96, *, conditions: bool = False) -> Split:
    """The toy photos as prepare packs them; with `conditions`, dark ones are darkened."""
    pixels, categories = toy_pixels(count)
    told = toy_conditions(count)
    if conditions:
        dark = (torch.arange(count) // 3 % 2 == 0)[:, None, None, None] & (pixels != 255)
        pixels = torch.where(dark, pixels // 3, pixels)
    names = tuple(f"{row:064x}" for row in range(count))
    found = told.numpy() if conditions else told.numpy()[:, :0]
    return Split(pixels.numpy(), categories.numpy(), names, names, found)


def toy_batch(count: int = 24, *, conditions: bool = False) -> Batch:
    pixels, categories = toy_pixels(count)
    images = pixels.float() / 127.5 - 1
    told = toy_conditions(count) if conditions else None
    return Batch(images, categories, torch.arange(count), torch.zeros(count, dtype=torch.bool), told)
