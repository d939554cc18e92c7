"""The search for a photo's latent, for the families that do not encode: one protocol, so that their figures compare."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from packshot.models.config import Search

CHUNK = 64
"""Pictures whose latents are searched at once."""


class Step(Protocol):
    """A step from noise to latents or from latents to pictures, (N, ...), of what each row asks for."""

    def __call__(self, rows: Tensor, categories: Tensor, conditions: Tensor, /) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Searched:
    """What is searched: latents come from standard normal noise (N, size) by `start`, and pictures from latents by `paint`."""

    size: int
    start: Step
    paint: Step


@torch.no_grad()
def search_pictures(searched: Searched, search: Search, images: Tensor, categories: Tensor, conditions: Tensor) -> Tensor:
    """Paint the latent whose picture is nearest to each photo (N, C, H, W), as `search` says how to look for it.

    A photo's result does not depend on those beside it beyond rounding. Give all photos at once: the first guesses of what
    several share are then drawn once.
    """
    best = torch.empty_like(images)
    errors = torch.full((len(images),), math.inf, device=images.device)
    for restart in range(search.restarts):
        rng = torch.Generator().manual_seed(search.seed + restart)
        candidates = torch.randn(search.candidates, searched.size, generator=rng).to(images.device)
        guesses = _guess(searched, images, categories, conditions, candidates)
        for rows in torch.split(torch.arange(len(images), device=images.device), CHUNK):
            found = _descend(searched, search, guesses[rows], images[rows], categories[rows], conditions[rows])
            error = (found - images[rows]).square().mean(dim=(1, 2, 3))
            better = rows[error < errors[rows]]
            best[better], errors[rows] = found[error < errors[rows]], torch.minimum(error, errors[rows])
    return best


def _guess(searched: Searched, images: Tensor, categories: Tensor, conditions: Tensor, candidates: Tensor) -> Tensor:
    """The latent whose thumbnail is nearest to each photo's, among the pictures of what the photo shows."""
    guesses: list[Tensor] = [candidates[0]] * len(images)
    shown, which = torch.unique(torch.cat((categories[:, None], conditions), dim=1), dim=0, return_inverse=True)
    for number, (category, *_) in enumerate(shown.tolist()):
        mine = which == number
        asked = conditions[mine][:1]
        latents: list[Tensor] = []
        thumbnails: list[Tensor] = []
        for part in torch.split(candidates, CHUNK):
            wanted = categories.new_full((len(part),), int(category)), asked.expand(len(part), -1)
            latents.append(searched.start(part, *wanted))
            thumbnails.append(adaptive_avg_pool2d(searched.paint(latents[-1], *wanted), 8).flatten(1))
        distances = torch.cdist(adaptive_avg_pool2d(images[mine], 8).flatten(1), torch.cat(thumbnails))
        nearest = torch.cat(latents)[distances.argmin(dim=1)]
        for row, guess in zip(mine.nonzero()[:, 0].tolist(), nearest, strict=True):
            guesses[row] = guess
    return torch.stack(guesses)


def _descend(
    searched: Searched, search: Search, latents: Tensor, images: Tensor, categories: Tensor, conditions: Tensor
) -> Tensor:
    """The pictures at the end of Adam's way down from `latents`: a warm-up, then a half cosine to nothing."""
    latents = latents.clone().requires_grad_()
    adam = torch.optim.Adam([latents], lr=search.learning_rate)
    for step in range(search.steps):
        share = min(1.0, (step + 1) / max(1, search.warmup_steps)) * (1 + math.cos(math.pi * step / search.steps)) / 2
        adam.param_groups[0]["lr"] = search.learning_rate * share
        with torch.enable_grad():
            errors = (searched.paint(latents, categories, conditions) - images).square().mean(dim=(1, 2, 3))
            (latents.grad,) = torch.autograd.grad(errors.sum(), latents)
        adam.step()
    return searched.paint(latents.detach(), categories, conditions)
