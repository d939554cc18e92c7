"""A convolutional VAE with a calibrated decoder, an adversarial polish and a prior fitted after it.

sigma-VAE: Rybkin, Daniilidis and Levine 2021, "Simple and effective VAE training with calibrated decoders".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
from torch import Tensor

from packshot.models.adversarial import critic_loss, penalty_loss, relativistic_loss, translate
from packshot.models.base import Batch, Fit, ImageModel, Loss, Optimizer, Phase
from packshot.models.blocks import Critic, Decoder, Encoder, widths
from packshot.models.flow import LatentFlow
from packshot.models.gaussians import ClassGaussians
from packshot.models.processes import gather, mean_of_all
from packshot.models.vae.config import Config, FlowPrior, GaussianPrior, Polish
from packshot.records import Condition, ImageSpec


class VAE(ImageModel):
    """An encoder, a decoder and the prior that is deployed. It never samples from N(0, I)."""

    deployed: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior")
    config: Config

    def __init__(
        self, config: Config, image: ImageSpec, categories: tuple[str, ...], conditions: tuple[Condition, ...] = ()
    ) -> None:
        super().__init__()
        self.config, self.image, self.categories, self.conditions = config, image, categories, conditions
        self.latent_size, self.noise_shape, self.encodes = config.latent, (config.latent,), True
        kinds, sizes = len(categories), tuple(condition.size for condition in conditions)
        levels = widths(image, 2 * config.width, 8 * config.width)
        self.encoder = Encoder(image, levels, 2 * config.latent)
        self.decoder = Decoder(image, (*reversed(levels), config.width), config.latent)
        self.prior: LatentFlow | ClassGaussians
        if isinstance(flow := config.prior, FlowPrior):
            self.prior = LatentFlow(config.latent, kinds, width=flow.width, blocks=flow.blocks, attributes=sum(sizes))
        else:
            self.prior = ClassGaussians(config.latent, kinds, sizes)
        if config.polish:
            self.critic = Critic(image, kinds, config.polish.critic_width, sum(sizes))
        # Where the autoencoder and the polish stop, as shares of the run.
        polish = config.polish.share if config.polish else 0.0
        prior = config.prior.share if isinstance(config.prior, FlowPrior) else 0.0
        total = config.share + polish + prior
        self.coded, self.polished = config.share / total, (config.share + polish) / total
        self.matures = self.polished if prior else 0.0
        self.posteriors: tuple[Tensor, Tensor] | None = None
        """Mean and log variance of every training photo's posterior, unflipped then flipped, while the flow learns from them."""

    def phases(self) -> tuple[Phase, ...]:
        config = self.config
        adamw = Optimizer(
            config.learning_rate, (0.9, 0.99), weight_decay=1e-4, warmup_steps=100, final_share=0.05, clip_norm=1.0, kind="adamw"
        )
        both = (self.encoder, self.decoder)
        phases = [Phase("autoencoder", both, self.elbo, adamw, stop=self.coded, averaged=both)]
        if polish := config.polish:
            against, towards = Optimizer(polish.critic_learning_rate, (0.0, 0.99)), Optimizer(polish.learning_rate, (0.0, 0.99))
            start, stop = self.coded, self.polished
            phases += [
                Phase("critic", (self.critic,), self.critic_loss, against, start=start, stop=stop),
                Phase(
                    "penalty",
                    (self.critic,),
                    self.penalty,
                    against,
                    shares="critic",
                    start=start,
                    stop=stop,
                    every=polish.penalty_every,
                    second_order=True,
                ),
                Phase("polish", (self.decoder,), self.polish_loss, towards, start=start, stop=stop, averaged=(self.decoder,)),
            ]
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
        """Mean and log variance of the posterior, (N, latent) each."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance.clamp(-12, 6)

    def elbo(self, batch: Batch) -> Loss:
        """Half ln MSE, the pictures' code length at the best shared sigma, and KL, both for each number of a picture."""
        mean, log_variance = self.encode(batch.images)
        again = self.decoder(posterior_sample(mean, log_variance, batch))
        terms = {
            "reconstruction": calibrated_error(again, batch.images),
            "kl": kl_divergence(mean, log_variance).mean() / batch.images[0].numel(),
        }
        return Loss(terms, {"active_units": active_units(mean)})

    # --- the polish

    def _redraw(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            latents = posterior_sample(*self.encode(batch.images), batch)
        again: Tensor = self.decoder(latents)
        return again

    @property
    def _polish(self) -> Polish:
        assert self.config.polish is not None, "a polish phase without a polish"  # noqa: S101 - phases() makes none
        return self.config.polish

    def critic_loss(self, batch: Batch) -> Loss:
        with torch.no_grad():
            drawn = self._redraw(batch)
        return critic_loss(self.critic, batch, drawn, translation=self._polish.translation)

    def penalty(self, batch: Batch) -> Loss:
        with torch.no_grad():
            drawn = self._redraw(batch)
        weight = self._polish.penalty * self._polish.penalty_every
        return penalty_loss(self.critic, batch, drawn, translation=self._polish.translation, weight=weight)

    def polish_loss(self, batch: Batch) -> Loss:
        again, chance = self._redraw(batch), self._polish.translation
        with torch.no_grad():
            real = self.critic(translate(batch.images, batch, chance), batch.categories, batch.conditions)
        drawn = self.critic(translate(again, batch, chance), batch.categories, batch.conditions)
        return Loss(
            {
                "reconstruction": calibrated_error(again, batch.images),
                "relativistic": self._polish.weight * relativistic_loss(drawn, real),
            }
        )

    # --- the prior

    def fits(self) -> tuple[Fit, ...]:
        return (Fit("posteriors", self._keep_posteriors, at=self.polished),) if isinstance(self.prior, LatentFlow) else ()

    @torch.no_grad()
    def _posteriors(self, photos: Callable[[], Iterator[Batch]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mean and log variance of each photo's posterior, its category and what is known of its attributes."""
        parts = [(*self.encode(batch.images), batch.categories, _told(batch)) for batch in photos()]
        means, log_variances, categories, conditions = (torch.cat(column) for column in zip(*parts, strict=True))
        return means, log_variances, categories, conditions

    def _keep_posteriors(self, photos: Callable[[], Iterator[Batch]]) -> None:
        means, log_variances, _, _ = self._posteriors(photos)
        self.posteriors = (means, log_variances)
        if isinstance(self.prior, LatentFlow):
            # The law of total variance, over photos and within each posterior.
            self.prior.standardise(means.mean(dim=0), means.var(dim=0, correction=0) + log_variances.exp().mean(dim=0))

    def flow_loss(self, batch: Batch) -> Loss:
        assert isinstance(self.prior, LatentFlow)  # noqa: S101 - phases() makes no such phase otherwise
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
            self.prior.fit(means, log_variances.exp(), categories, conditions)

    # --- what it is for

    @torch.no_grad()
    def draw(self, noise: Tensor, categories: Tensor, conditions: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        """Carry noise (N, latent) to latents by the prior, and decode them; truncation shrinks the noise."""
        noise, settings = truncation * noise, self.config.prior
        if isinstance(self.prior, LatentFlow) and isinstance(settings, FlowPrior):
            latents = self.prior.transport(noise, categories, conditions, steps=settings.steps, guidance=settings.guidance)
        elif isinstance(self.prior, ClassGaussians) and isinstance(settings, GaussianPrior):
            latents = self.prior.draw(noise, categories, conditions, spread=settings.spread)
        pictures: Tensor = self.decoder(latents)
        return pictures

    @torch.no_grad()
    def reconstruct(self, images: Tensor, categories: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Decode the posterior's mean; neither category nor attributes are needed."""
        again: Tensor = self.decoder(self.encode(images)[0])
        return again


def _told(batch: Batch) -> Tensor:
    """What a batch says of attributes, (N, D); (N, 0) where it says nothing."""
    return batch.images.new_zeros(len(batch.images), 0) if batch.conditions is None else batch.conditions


def posterior_sample(mean: Tensor, log_variance: Tensor, batch: Batch) -> Tensor:
    """A sample of N(mean, exp(log_variance)) by the chances of `batch`: reparameterisation (Kingma and Welling 2014)."""
    return mean + batch.normal(*mean.shape[1:]) * (log_variance / 2).exp()


def active_units(mean: Tensor) -> Tensor:
    """How many numbers of the posterior's mean, (N, ...), say something of the photo: their variance exceeds 0.01.

    Burda, Grosse and Salakhutdinov 2016, section 5.2, over one batch.
    """
    return (gather(mean.detach().flatten(1)).var(dim=0, correction=0) > 0.01).sum().float()


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)) in nats, (N,) (Kingma and Welling 2014, appendix B)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1) / 2


def calibrated_error(drawn: Tensor, images: Tensor) -> Tensor:
    """Half the logarithm of the batch's mean squared error.

    Up to a constant it is the negative log likelihood of one number of a picture under a Gaussian whose variance, shared by the
    batch, is the best one: the mean squared error itself (Rybkin et al. 2021, section 4.2).
    """
    return mean_of_all((drawn - images).square().mean()).clamp_min(1e-8).log() / 2
