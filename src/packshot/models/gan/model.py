"""A convolutional GAN conditional on category and attributes: a DCGAN's shape (Radford et al. 2016) under a modern loss.

Relativistic pairing with R1 and R2 (Huang et al. 2024, "The GAN is dead; long live the GAN!").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, silu

from packshot.models.adversarial import critic_loss, penalty_loss, relativistic_loss, translate
from packshot.models.base import Batch, ImageModel, Loss, Optimizer, Phase
from packshot.models.blocks import BASE, ComparingCritic, ConditionEmbedding, ModulatedNorm, widths
from packshot.models.gan.config import Config
from packshot.records import Condition, ImageSpec

CHUNK = 64
"""Pictures whose latents are searched at once."""


class Generator(nn.Module):
    """Latents and what is asked for to pictures: transposed convolutions of stride 2 from 4 x 4 on.

    Both are heard at every level (Brock et al. 2019, without the splitting): pictures of a category then differ more than where
    the first level alone hears them.
    """

    def __init__(self, config: Config, image: ImageSpec, categories: int, attributes: int = 0) -> None:
        super().__init__()
        channels = (*reversed(widths(image, config.width, 4 * config.width)), max(config.width // 2, 4))
        features = 2 * config.latent
        self.category = ConditionEmbedding(categories, attributes, config.latent)
        self.begin = nn.Linear(features, channels[0] * BASE**2)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(previous, width, 4, 2, 1) for previous, width in pairwise(channels))
        self.norms = nn.ModuleList(ModulatedNorm(width, features) for width in channels)
        self.end = nn.Conv2d(channels[-1], image.channels, 3, 1, 1)

    def forward(self, latents: Tensor, categories: Tensor, conditions: Tensor | None = None) -> Tensor:
        condition = torch.cat((latents, self.category(categories, conditions)), dim=1)
        grid = silu(self.norms[0](self.begin(condition).unflatten(1, (-1, BASE, BASE)), condition))
        for grow, norm in zip(self.grow, self.norms[1:], strict=True):
            grid = silu(norm(grow(grid), condition))
        return torch.tanh(self.end(grid))


class GAN(ImageModel):
    """A generator; and a critic, which stays at home."""

    deployed: ClassVar[tuple[str, ...]] = ("generator",)
    config: Config

    def __init__(
        self, config: Config, image: ImageSpec, categories: tuple[str, ...], conditions: tuple[Condition, ...] = ()
    ) -> None:
        super().__init__()
        self.config, self.image, self.categories, self.conditions = config, image, categories, conditions
        self.latent_size, self.noise_shape, self.encodes = config.latent, (config.latent,), False
        attributes = sum(condition.size for condition in conditions)
        self.generator = Generator(config, image, len(categories), attributes)
        self.critic = ComparingCritic(image, len(categories), config.width, attributes)

    def phases(self) -> tuple[Phase, ...]:
        config = self.config
        adam = Optimizer(config.learning_rate, (0.0, 0.99), final_share=config.final_share)
        return (
            Phase("critic", (self.critic,), self.critic_loss, adam),
            Phase("penalty", (self.critic,), self.penalty, adam, shares="critic", every=config.penalty_every, second_order=True),
            Phase(
                "generator",
                (self.generator,),
                self.generator_loss,
                adam,
                averaged=(self.generator,),
                half_life=config.half_life,
            ),
        )

    def _draw(self, batch: Batch) -> Tensor:
        pictures: Tensor = self.generator(batch.normal(self.config.latent), batch.categories, batch.conditions)
        return pictures

    def critic_loss(self, batch: Batch) -> Loss:
        with torch.no_grad():
            drawn = self._draw(batch)
        return critic_loss(self.critic, batch, drawn, translation=self.config.translation)

    def penalty(self, batch: Batch) -> Loss:
        with torch.no_grad():
            drawn = self._draw(batch)
        weight = self.config.penalty * self.config.penalty_every
        return penalty_loss(self.critic, batch, drawn, translation=self.config.translation, weight=weight)

    def generator_loss(self, batch: Batch) -> Loss:
        chance = self.config.translation
        with torch.no_grad():
            real = self.critic(translate(batch.images, batch, chance), batch.categories, batch.conditions)
        drawn = self.critic(translate(self._draw(batch), batch, chance), batch.categories, batch.conditions)
        return Loss({"relativistic": relativistic_loss(drawn, real)})

    @torch.no_grad()
    def finish(self, photos: Callable[[], Iterator[Batch]]) -> None:
        """Measure the batch norms' statistics under these very weights: those met in training belong to no average of weights."""
        norms = [module for module in self.generator.modules() if isinstance(module, nn.BatchNorm2d)]
        rng = torch.Generator().manual_seed(0)
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over all batches
            norm.train()
        for batch in photos():
            latents = torch.randn(len(batch.categories), self.config.latent, generator=rng)
            self.generator(latents.to(batch.categories.device), batch.categories, batch.conditions)
        for norm in norms:
            norm.eval()

    @torch.no_grad()
    def draw(self, noise: Tensor, categories: Tensor, conditions: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        """Generate from noise (N, latent); truncation shrinks the noise."""
        pictures: Tensor = self.generator(truncation * noise, categories, conditions)
        return pictures

    @torch.no_grad()
    def reconstruct(self, images: Tensor, categories: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Search the latent whose picture is nearest to each photo, by the protocol in the config.

        A photo's result does not depend on those beside it beyond rounding. Give all photos at once: the first guesses of what
        several share are then drawn once.
        """
        search = self.config.search
        if conditions is None:
            conditions = images.new_zeros(len(images), sum(condition.size for condition in self.conditions))
        best = torch.empty_like(images)
        errors = torch.full((len(images),), math.inf, device=images.device)
        for restart in range(search.restarts):
            rng = torch.Generator().manual_seed(search.seed + restart)
            candidates = torch.randn(search.candidates, self.config.latent, generator=rng).to(images.device)
            guesses = self._guess(images, categories, conditions, candidates)
            for rows in torch.split(torch.arange(len(images), device=images.device), CHUNK):
                found = self._descend(guesses[rows], images[rows], categories[rows], conditions[rows])
                error = (found - images[rows]).square().mean(dim=(1, 2, 3))
                better = rows[error < errors[rows]]
                best[better], errors[rows] = found[error < errors[rows]], torch.minimum(error, errors[rows])
        return best

    def _guess(self, images: Tensor, categories: Tensor, conditions: Tensor, candidates: Tensor) -> Tensor:
        """The candidate whose thumbnail is nearest to each photo's, among the pictures of what the photo shows."""
        guesses = candidates.new_empty(len(images), candidates.shape[1])
        shown, which = torch.unique(torch.cat((categories[:, None], conditions), dim=1), dim=0, return_inverse=True)
        for number, (category, *_) in enumerate(shown.tolist()):
            mine = which == number
            asked = conditions[mine][:1]
            drawn = [
                self.generator(part, categories.new_full((len(part),), int(category)), asked.expand(len(part), -1))
                for part in torch.split(candidates, CHUNK)
            ]
            thumbnails = torch.cat([adaptive_avg_pool2d(part, 8).flatten(1) for part in drawn])
            distances = torch.cdist(adaptive_avg_pool2d(images[mine], 8).flatten(1), thumbnails)
            guesses[mine] = candidates[distances.argmin(dim=1)]
        return guesses

    def _descend(self, latents: Tensor, images: Tensor, categories: Tensor, conditions: Tensor) -> Tensor:
        """The pictures at the end of Adam's way down from `latents`: a warm-up, then a half cosine to nothing."""
        search = self.config.search
        latents = latents.clone().requires_grad_()
        adam = torch.optim.Adam([latents], lr=search.learning_rate)
        for step in range(search.steps):
            share = min(1.0, (step + 1) / max(1, search.warmup_steps)) * (1 + math.cos(math.pi * step / search.steps)) / 2
            adam.param_groups[0]["lr"] = search.learning_rate * share
            with torch.enable_grad():
                errors = (self.generator(latents, categories, conditions) - images).square().mean(dim=(1, 2, 3))
                (latents.grad,) = torch.autograd.grad(errors.sum(), latents)
            adam.step()
        found: Tensor = self.generator(latents.detach(), categories, conditions)
        return found
