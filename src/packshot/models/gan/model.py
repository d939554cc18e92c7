"""A convolutional GAN conditional on category and attributes: a DCGAN's shape (Radford et al. 2016) under a modern loss.

Relativistic pairing with R1 and R2 (Huang et al. 2024, "The GAN is dead; long live the GAN!"), and the classic losses beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from packshot.models.adversarial import compare_scores, critic_objective, generator_loss, penalty_loss, recognition_loss
from packshot.models.augment.augmenter import build_augmenter
from packshot.models.base import Batch, ImageModel, Loss, Optimizer, Phase
from packshot.models.blocks import (
    BASE,
    ComparingCritic,
    ConditionEmbedding,
    Critic,
    ModulatedNorm,
    NormalisedCritic,
    ResizedConvolution,
    widths,
)
from packshot.models.gan.config import Config
from packshot.models.search import Searched, search_pictures
from packshot.records import Condition, ImageSpec


class Generator(nn.Module):
    """Latents and what is asked for to pictures: from 4 x 4 on, each convolution doubles the side.

    Both are heard at every level (Brock et al. 2019, without the splitting): pictures of a category then differ more than where
    the first level alone hears them.
    """

    def __init__(self, config: Config, image: ImageSpec, categories: int, attributes: int = 0) -> None:
        super().__init__()
        channels = (*reversed(widths(image, config.width, 4 * config.width)), max(config.width // 2, 4))
        features = 2 * config.latent
        self.category = ConditionEmbedding(categories, attributes, config.latent)
        self.begin = nn.Linear(features, channels[0] * BASE**2)
        resized = config.upsampling == "resized"
        self.grow = nn.ModuleList(
            ResizedConvolution(previous, width) if resized else nn.ConvTranspose2d(previous, width, 4, 2, 1)
            for previous, width in pairwise(channels)
        )
        self.norms = nn.ModuleList(ModulatedNorm(width, features) for width in channels)
        self.end = nn.Conv2d(channels[-1], image.channels, 3, 1, 1)

    def forward(self, latents: Tensor, categories: Tensor, conditions: Tensor | None = None) -> Tensor:
        condition = torch.cat((latents, self.category(categories, conditions)), dim=1)
        grid = silu(self.norms[0](self.begin(condition).unflatten(1, (-1, BASE, BASE)), condition))
        for grow, norm in zip(self.grow, self.norms[1:], strict=True):
            grid = silu(norm(grow(grid), condition))
        drawn: Tensor = self.end(grid)
        return torch.tanh(drawn.float())


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
        kind = ComparingCritic if config.critic == "comparing" else NormalisedCritic
        self.critic: Critic = kind(image, len(categories), config.width, attributes)
        self.augment = build_augmenter(config.augment)

    def critic_layers(self) -> tuple[nn.Module, ...]:
        return tuple(self.critic.layers)

    def phases(self) -> tuple[Phase, ...]:
        config = self.config
        adam = Optimizer(config.learning_rate, (config.momentum, 0.99), final_share=config.final_share)
        critic = Phase("critic", (self.critic,), self.critic_loss, adam)
        penalty = Phase(
            "penalty", (self.critic,), self.penalty, adam, shares="critic", every=config.penalty_every, second_order=True
        )
        generator = Phase(
            "generator",
            (self.generator,),
            self.generator_loss,
            adam,
            averaged=(self.generator,),
            half_life=config.half_life,
        )
        return (critic, penalty, generator) if config.penalty else (critic, generator)

    def _draw(self, batch: Batch) -> Tensor:
        pictures: Tensor = self.generator(batch.normal(self.config.latent), batch.categories, batch.conditions)
        return pictures

    def critic_loss(self, batch: Batch) -> Loss:
        with torch.no_grad():
            drawn = self._draw(batch)
        game, told = self.config.loss, self.augment.signals()
        drawn_scores = self.critic(self.augment(drawn, batch), batch.categories, batch.conditions)
        every = self.critic.score_every(self.augment(batch.images, batch), batch.categories, batch.conditions)
        real_scores = every.gather(1, batch.categories[:, None]).squeeze(1)
        self.augment.hear(real_scores - drawn_scores if game == "relativistic" else real_scores, batch)
        terms: dict[str, Tensor] = {game: critic_objective(game, real_scores, drawn_scores)}
        if self.config.recognition:
            terms["recognition"] = self.config.recognition * recognition_loss(every, batch.categories)
        return Loss(terms, {**compare_scores(real_scores, drawn_scores), **told})

    def penalty(self, batch: Batch) -> Loss:
        config, drawn = self.config, None
        if config.penalise_drawn:
            with torch.no_grad():
                drawn = self._draw(batch)
        weight = config.penalty * config.penalty_every
        return penalty_loss(self.critic, batch, drawn, augment=self.augment, weight=weight)

    def generator_loss(self, batch: Batch) -> Loss:
        game = self.config.loss
        return Loss({game: generator_loss(self.critic, batch, self._draw(batch), augment=self.augment, game=game)})

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
        """Search the latent whose picture is nearest to each photo, by the protocol in the config."""
        if conditions is None:
            conditions = images.new_zeros(len(images), sum(condition.size for condition in self.conditions))
        searched = Searched(self.config.latent, lambda noise, *_: noise, self.generator)
        return search_pictures(searched, self.config.search, images, categories, conditions)
