"""StyleGAN2, conditional on category and attributes, trained on small catalogues with adaptive augmentation.

Written from the papers: Karras et al. 2019 ("A style-based generator architecture for generative adversarial networks"),
2020 ("Analyzing and improving the image quality of StyleGAN") and 2020a ("Training generative adversarial networks with limited
data").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from packshot.models.adversarial import compare_scores, critic_objective, generator_loss, penalty_loss
from packshot.models.augment.augmenter import build_augmenter
from packshot.models.base import Batch, ImageModel, Loss, Optimizer, Phase
from packshot.models.search import Searched, search_pictures
from packshot.models.stylegan2.config import Config
from packshot.models.stylegan2.critic import StyleCritic
from packshot.models.stylegan2.mapping import Mapping
from packshot.models.stylegan2.paths import MeanLength, path_lengths
from packshot.models.stylegan2.synthesis import Synthesis, grid_channels
from packshot.records import Condition, ImageSpec

SHRINK = 2
"""One in so many pictures of a batch is drawn for the path length."""


class StyleGAN2(ImageModel):
    """A mapping network and a synthesis network; and a critic, which stays at home."""

    deployed: ClassVar[tuple[str, ...]] = ("mapping", "synthesis")
    config: Config

    def __init__(
        self, config: Config, image: ImageSpec, categories: tuple[str, ...], conditions: tuple[Condition, ...] = ()
    ) -> None:
        super().__init__()
        self.config, self.image, self.categories, self.conditions = config, image, categories, conditions
        self.latent_size, self.noise_shape, self.encodes = config.latent, (config.latent,), False
        kinds, attributes = len(categories), sum(condition.size for condition in conditions)
        channels = grid_channels(image.size, config.capacity, config.widest)
        self.mapping = Mapping(config.latent, config.mapping_layers, kinds, attributes)
        self.synthesis = Synthesis(image, channels, config.latent)
        self.critic = StyleCritic(image, channels, kinds, attributes)
        self.augment = build_augmenter(config.augment)
        self.mean_length = MeanLength()

    def critic_layers(self) -> tuple[nn.Module, ...]:
        return (self.critic.begin, *self.critic.blocks)

    def phases(self) -> tuple[Phase, ...]:
        config, deployed = self.config, (self.mapping, self.synthesis)
        judging = lazy_adam(config, config.penalty_every if config.penalty else None)
        drawing = lazy_adam(config, config.path_length_every if config.path_length else None)
        phases = [Phase("critic", (self.critic,), self.critic_loss, judging)]
        if config.penalty:
            every = config.penalty_every
            phases.append(Phase("r1", (self.critic,), self.penalty, judging, shares="critic", every=every, second_order=True))
        if config.path_length:
            every = config.path_length_every
            phases.append(
                Phase("path_length", deployed, self.path_length, drawing, shares="generator", every=every, second_order=True)
            )
        # The generator's turn comes last: its average then follows all that has moved it.
        generator = Phase("generator", deployed, self.generator_loss, drawing, averaged=deployed, half_life=config.half_life)
        return (*phases, generator)

    # --- pictures in training

    def mix(self, batch: Batch) -> Tensor:
        """W for each place at which it is heard, (N, styles, latent): for most pictures two latents' (2019, section 3.1)."""
        size, places = self.config.latent, self.synthesis.styles
        first, second = batch.normal(2, size).unbind(dim=1)
        asked = batch.categories, batch.conditions
        ws = torch.stack((self.mapping(first, *asked), self.mapping(second, *asked)))
        chances = batch.uniform(2)
        crossings = 1 + (chances[:, :1] * (places - 1)).long().clamp_max(places - 2)
        second_one = (torch.arange(places, device=ws.device) >= crossings) & (chances[:, 1:] < self.config.mixing)
        return torch.where(second_one[:, :, None], ws[1, :, None], ws[0, :, None])

    def _noises(self, batch: Batch) -> list[Tensor]:
        return [batch.normal(*shape) for shape in self.synthesis.noises]

    def _draw(self, batch: Batch) -> Tensor:
        pictures: Tensor = self.synthesis(self.mix(batch), self._noises(batch))
        return pictures

    def _judge(self, images: Tensor, batch: Batch) -> Tensor:
        scores: Tensor = self.critic(self.augment(images, batch), batch.categories, batch.conditions)
        return scores

    # --- the turns

    def critic_loss(self, batch: Batch) -> Loss:
        with torch.no_grad():
            drawn = self._draw(batch)
        drawn_scores, real_scores = self._judge(drawn, batch), self._judge(batch.images, batch)
        game = self.config.game
        self.augment.hear(real_scores - drawn_scores if game == "relativistic" else real_scores, batch)
        return Loss(
            {game: critic_objective(game, real_scores, drawn_scores)},
            compare_scores(real_scores, drawn_scores) | self.augment.signals(),
        )

    def penalty(self, batch: Batch) -> Loss:
        """R1 (Mescheder et al. 2018) of what the critic is shown, as often stronger as it is rarer (2020, section 3.1)."""
        weight = self.config.penalty * self.config.penalty_every
        return penalty_loss(self.critic, batch, None, augment=self.augment, weight=weight)

    def path_length(self, batch: Batch) -> Loss:
        """How much a step in w changes the picture should not depend on where and in which direction (2020, equation 4)."""
        # Rows by their place in the whole batch: then it does not matter how it is shared out.
        mine = slice(-batch.first % SHRINK, None, SHRINK)
        ws, noises = self.mix(batch)[mine], [noise[mine] for noise in self._noises(batch)]
        directions = batch.normal(*self.image.shape)[mine]
        lengths = path_lengths(lambda rows: self.synthesis(rows, noises), ws, directions)
        weight = self.config.path_length * self.config.path_length_every
        error = self.mean_length(lengths).sum() * SHRINK / len(batch)
        return Loss({"path_length": weight * error}, {"length": lengths.detach().mean()})

    def generator_loss(self, batch: Batch) -> Loss:
        game = self.config.game
        return Loss({game: generator_loss(self.critic, batch, self._draw(batch), augment=self.augment, game=game)})

    # --- what it is for

    def finish(self, photos: Callable[[], Iterator[Batch]]) -> None:
        """Measure each category's mean w, which truncation needs."""
        self.mapping.settle()

    def _paint(self, w: Tensor, *_: Tensor) -> Tensor:
        """Pictures of w, (N, latent), with the noise that is kept with the weights."""
        pictures: Tensor = self.synthesis(w[:, None].expand(-1, self.synthesis.styles, -1))
        return pictures

    @torch.no_grad()
    def draw(self, noise: Tensor, categories: Tensor, conditions: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        """Generate from noise (N, latent); truncation pulls w towards the mean of what is asked for."""
        w = self.mapping(noise, categories, conditions)
        w = self.mapping.truncate(w, truncation * self.config.truncation, categories, conditions)
        return self._paint(w).clamp(-1, 1)

    @torch.no_grad()
    def reconstruct(self, images: Tensor, categories: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Search the w whose picture is nearest to each photo, by the protocol in the config: one w for all places, never W+."""
        if conditions is None:
            conditions = images.new_zeros(len(images), sum(condition.size for condition in self.conditions))
        searched = Searched(self.config.latent, self.mapping, self._paint)
        return search_pictures(searched, self.config.search, images, categories, conditions).clamp(-1, 1)


def lazy_adam(config: Config, every: int | None) -> Optimizer:
    """Adam for a loss with a term that has a step of its own every so many others, or no such term (None).

    There are more steps then, so each is smaller and is remembered for more of them: a run moves as far as with both terms in one
    (Karras et al. 2020, appendix B).
    """
    share = every / (every + 1) if every else 1.0
    return Optimizer(share * config.learning_rate, (0.0, 0.99**share), final_share=config.final_share)
