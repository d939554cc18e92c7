"""A convolutional VAE with a calibrated decoder, an adversarial polish and a prior fitted after it.

sigma-VAE: Rybkin, Daniilidis and Levine 2021, "Simple and effective VAE training with calibrated decoders".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from packshot.models.adversarial import critic_loss, generator_loss, penalty_loss
from packshot.models.augment.transforms import translate
from packshot.models.base import Batch, Fit, ImageModel, Loss, Optimizer, Phase
from packshot.models.blocks import Critic, Decoder, Encoder, widths
from packshot.models.flow import Flow, VectorFlow
from packshot.models.gaussians import ClassGaussians
from packshot.models.perception import Perception
from packshot.models.residual import GridDecoder, GridEncoder, grid_widths
from packshot.models.transformer import GridFlow
from packshot.models.vae.config import Config, FlowPrior, GaussianPrior, Grid, Polish
from packshot.models.vae.losses import active_units, calibrated_error, kl_divergence, posterior_sample
from packshot.records import Condition, ImageSpec

PIXELS_AT_ONCE = 2**22
"""Of pictures that are encoded or decoded without gradients: it bounds the memory, whatever the batch."""


class VAE(ImageModel):
    """An encoder, a decoder and the prior that is deployed. It never samples from N(0, I)."""

    deployed: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior")
    config: Config

    def __init__(
        self, config: Config, image: ImageSpec, categories: tuple[str, ...], conditions: tuple[Condition, ...] = ()
    ) -> None:
        super().__init__()
        self.config, self.image, self.categories, self.conditions = config, image, categories, conditions
        self.noise_shape, self.encodes = config.latent_shape(image), True
        self.latent_size = math.prod(self.noise_shape)
        self.encoder, self.decoder = _coders(config, image)
        sizes = tuple(condition.size for condition in conditions)
        self.prior = _prior(config, image, len(categories), sizes)
        if config.polish:
            self.critic = Critic(image, len(categories), config.polish.critic_width, sum(sizes))
        if config.perceptual:
            self.perception = Perception(image, len(categories), config.perceptual.width)
        # Where the classifier, the autoencoder and the polish stop, as shares of the run.
        shares = (
            config.perceptual.share if config.perceptual else 0.0,
            config.share,
            config.polish.share if config.polish else 0.0,
            config.prior.share if isinstance(config.prior, FlowPrior) else 0.0,
        )
        self.seen, self.coded, self.polished = (sum(shares[:count]) / sum(shares) for count in (1, 2, 3))
        self.matures = self.polished if shares[3] else self.seen
        self.posteriors: tuple[Tensor, Tensor] | None = None
        """Mean and log variance of every training photo's posterior, unflipped then flipped, while the flow learns from them."""

    def critic_layers(self) -> tuple[nn.Module, ...]:
        return tuple(self.critic.layers) if self.config.polish else ()

    def phases(self) -> tuple[Phase, ...]:
        config = self.config
        adamw = Optimizer(
            config.learning_rate, (0.9, 0.99), weight_decay=1e-4, warmup_steps=100, final_share=0.05, clip_norm=1.0, kind="adamw"
        )
        both, phases = (self.encoder, self.decoder), []
        if perceptual := config.perceptual:
            rate = Optimizer(perceptual.learning_rate, (0.9, 0.99), weight_decay=1e-4, warmup_steps=100, final_share=0.05)
            phases.append(Phase("perception", (self.perception,), self.perception.loss, rate, stop=self.seen))
        phases.append(Phase("autoencoder", both, self.elbo, adamw, start=self.seen, stop=self.coded, averaged=both))
        if polish := config.polish:
            against, towards = Optimizer(polish.critic_learning_rate, (0.0, 0.99)), Optimizer(polish.learning_rate, (0.0, 0.99))
            start, stop = self.coded, self.polished
            critic = Phase("critic", (self.critic,), self.critic_loss, against, start=start, stop=stop)
            penalty = Phase(
                "penalty",
                (self.critic,),
                self.penalty,
                against,
                shares="critic",
                start=start,
                stop=stop,
                every=polish.penalty_every,
                second_order=True,
            )
            better = Phase("polish", (self.decoder,), self.polish_loss, towards, start=start, stop=stop, averaged=(self.decoder,))
            phases += [critic, penalty, better] if polish.penalty else [critic, better]
        if isinstance(prior := config.prior, FlowPrior):
            adamw = Optimizer(prior.learning_rate, (0.9, 0.99), warmup_steps=100, final_share=0.05, clip_norm=1.0, kind="adamw")
            phases.append(
                Phase(
                    "flow",
                    (self.prior,),
                    self.flow_loss,
                    adamw,
                    start=self.polished,
                    batch_size=prior.batch_size,
                    averaged=(self.prior,),
                    half_life=90_000,
                )
            )
        return tuple(phases)

    # --- the autoencoder

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior, (N, *noise_shape) each, float32 whatever the precision."""
        mean, log_variance = self._by_parts(self.encoder, images).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-12, 6)

    def decode(self, latents: Tensor) -> Tensor:
        """The picture of each latent, (N, *noise_shape)."""
        return self._by_parts(self.decoder, latents)

    def _by_parts(self, network: nn.Module, given: Tensor) -> Tensor:
        many = max(1, PIXELS_AT_ONCE // self.image.size**2)
        if torch.is_grad_enabled() or len(given) <= many:
            made: Tensor = network(given)
            return made
        return torch.cat([network(part) for part in torch.split(given, many)])

    def _compare(self, again: Tensor, images: Tensor) -> dict[str, Tensor]:
        """What is paid for not drawing photos again as they are."""
        terms = {"reconstruction": calibrated_error(again, images)}
        if perceptual := self.config.perceptual:
            terms["perceptual"] = perceptual.weight * self.perception.distance(again, images)
        return terms

    def elbo(self, batch: Batch) -> Loss:
        """Half ln MSE, the pictures' code length at the best shared sigma, and KL, both for each number of a picture."""
        mean, log_variance = self.encode(batch.images)
        again = self.decode(posterior_sample(mean, log_variance, batch))
        kl = kl_divergence(mean, log_variance).mean() / batch.images[0].numel()
        return Loss({**self._compare(again, batch.images), "kl": kl}, {"active_units": active_units(mean)})

    # --- the polish

    def _redraw(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            latents = posterior_sample(*self.encode(batch.images), batch)
        return self.decode(latents)

    @property
    def _polish(self) -> Polish:
        assert self.config.polish is not None, "a polish phase without a polish"  # noqa: S101 - phases() makes none
        return self.config.polish

    def _augment(self, images: Tensor, batch: Batch) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):  # a shift that rounds would show which pictures are drawn
            return translate(images, batch, self._polish.translation)

    def critic_loss(self, batch: Batch) -> Loss:
        with torch.no_grad():
            drawn = self._redraw(batch)
        return critic_loss(self.critic, batch, drawn, augment=self._augment)

    def penalty(self, batch: Batch) -> Loss:
        with torch.no_grad():
            drawn = self._redraw(batch)
        weight = self._polish.penalty * self._polish.penalty_every
        return penalty_loss(self.critic, batch, drawn, augment=self._augment, weight=weight)

    def polish_loss(self, batch: Batch) -> Loss:
        again = self._redraw(batch)
        adversarial = self._polish.weight * generator_loss(self.critic, batch, again, augment=self._augment)
        return Loss({**self._compare(again, batch.images), "relativistic": adversarial})

    # --- the prior

    def fits(self) -> tuple[Fit, ...]:
        return (Fit("posteriors", self._keep_posteriors, at=self.polished),) if isinstance(self.prior, Flow) else ()

    @torch.no_grad()
    def _posteriors(self, photos: Callable[[], Iterator[Batch]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mean and log variance of each photo's posterior, its category and what is known of its attributes."""
        parts = [(*self.encode(batch.images), batch.categories, _told(batch)) for batch in photos()]
        means, log_variances, categories, conditions = (torch.cat(column) for column in zip(*parts, strict=True))
        return means, log_variances, categories, conditions

    def _keep_posteriors(self, photos: Callable[[], Iterator[Batch]]) -> None:
        means, log_variances, _, _ = self._posteriors(photos)
        self.posteriors = (means, log_variances)
        if isinstance(self.prior, Flow):
            # The law of total variance, over photos and within each posterior.
            self.prior.standardise(means.mean(dim=0), means.var(dim=0, correction=0) + log_variances.exp().mean(dim=0))

    def flow_loss(self, batch: Batch) -> Loss:
        assert isinstance(self.prior, Flow)  # noqa: S101 - phases() makes no such phase otherwise
        assert isinstance(self.config.prior, FlowPrior)  # noqa: S101
        assert self.posteriors is not None, "the fit of the posteriors comes first"  # noqa: S101
        means, log_variances = self.posteriors
        half = len(means) // 2
        rows = batch.rows + batch.flipped * half
        latents = posterior_sample(means[rows], log_variances[rows], batch)
        return Loss({"velocity": self.prior.loss(latents, batch, drop=self.config.prior.drop)})

    def finish(self, photos: Callable[[], Iterator[Batch]]) -> None:
        """Fit the class Gaussians, where they are the prior."""
        if isinstance(self.prior, ClassGaussians):
            means, log_variances, categories, conditions = self._posteriors(photos)
            self.prior.fit(means.flatten(1), log_variances.flatten(1).exp(), categories, conditions)

    # --- what it is for

    @torch.no_grad()
    def draw(self, noise: Tensor, categories: Tensor, conditions: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        """Carry noise to latents by the prior, and decode them; truncation shrinks the noise."""
        noise, settings = truncation * noise, self.config.prior
        if isinstance(self.prior, Flow) and isinstance(settings, FlowPrior):
            latents = self.prior.transport(noise, categories, conditions, steps=settings.steps, guidance=settings.guidance)
        elif isinstance(self.prior, ClassGaussians) and isinstance(settings, GaussianPrior):
            latents = self.prior.draw(noise.flatten(1), categories, conditions, spread=settings.spread).view_as(noise)
        return self.decode(latents)

    @torch.no_grad()
    def reconstruct(self, images: Tensor, categories: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Decode the posterior's mean; neither category nor attributes are needed."""
        return self.decode(self.encode(images)[0])


def _coders(config: Config, image: ImageSpec) -> tuple[nn.Module, nn.Module]:
    """The encoder, to mean and log variance, and the decoder."""
    if isinstance(grid := config.latent, Grid):
        levels = grid_widths(config.width, grid.factor)
        encoder = GridEncoder(image, levels, grid.blocks, 2 * grid.channels)
        return encoder, GridDecoder(image, levels[::-1], grid.blocks, grid.channels)
    levels = widths(image, 2 * config.width, 8 * config.width)
    return Encoder(image, levels, 2 * grid), Decoder(image, (*reversed(levels), config.width), grid)


def _prior(config: Config, image: ImageSpec, categories: int, sizes: tuple[int, ...]) -> Flow | ClassGaussians:
    """The prior of the latents; `sizes` says how many columns each attribute takes."""
    shape, flow = config.latent_shape(image), config.prior
    if isinstance(flow, GaussianPrior):
        return ClassGaussians(math.prod(shape), categories, sizes)
    if isinstance(grid := config.latent, Grid):
        return GridFlow(
            grid.shape(image), categories, width=flow.width, blocks=flow.blocks, patch=flow.patch, attributes=sum(sizes)
        )
    return VectorFlow(grid, categories, width=flow.width, blocks=flow.blocks, attributes=sum(sizes))


def _told(batch: Batch) -> Tensor:
    """What a batch says of attributes, (N, D); (N, 0) where it says nothing."""
    return batch.images.new_zeros(len(batch.images), 0) if batch.conditions is None else batch.conditions
