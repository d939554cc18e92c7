"""What params.yaml can set of the family `vae`; the networks stand in model.py, which alone needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from packshot.models.config import ModelConfig
from packshot.records import Condition, ImageSpec, Record

if TYPE_CHECKING:
    from packshot.models.vae.model import VAE


class Polish(Record):
    """The decoder trained on against a critic, the encoder frozen: sharper pictures for a little PSNR (a VAE-GAN's decoder)."""

    share: float = Field(50, gt=0)
    """Of the run's steps, in proportion to the other shares."""
    weight: float = Field(0.05, gt=0)
    """Of the adversarial term, beside half the logarithm of the mean squared error."""
    learning_rate: float = Field(5e-4, gt=0)
    critic_learning_rate: float = Field(1e-3, gt=0)
    critic_width: int = Field(32, ge=4, le=512)
    penalty: float = Field(0.02, ge=0)
    penalty_every: int = Field(16, ge=1)
    translation: float = Field(0.5, ge=0, le=1)


class FlowPrior(Record):
    """A latent flow that knows the category, and the attributes where there are any."""

    kind: Literal["flow"] = "flow"
    share: float = Field(120, gt=0)
    """Of the run's steps, in proportion to the other shares."""
    width: int = Field(384, ge=8, le=4096)
    blocks: int = Field(4, ge=1, le=64)
    learning_rate: float = Field(1e-3, gt=0)
    batch_size: int = Field(256, ge=1)
    drop: float = Field(0.1, ge=0, lt=1)
    """How often category and attributes are forgotten in training, which makes guidance possible."""
    steps: int = Field(25, ge=1, le=1000)
    """Of Euler, for each picture drawn."""
    guidance: float = Field(1.5, ge=0, le=10)


class GaussianPrior(Record):
    """One Gaussian for each category, moved by what is known of the attributes: no training."""

    kind: Literal["class_gaussians"] = "class_gaussians"
    spread: float = Field(0.7, gt=0, le=1)
    """Times the fitted deviation."""


class Config(ModelConfig):
    """`model:` of a run with `family: vae`."""

    family: Literal["vae"] = "vae"
    latent: int = Field(64, ge=2, le=1024)
    width: int = Field(16, ge=4, le=512)
    """Channels of the decoder's finest grid; eight times as many at 4 x 4."""
    share: float = Field(141, gt=0)
    """The autoencoder's part of the run's steps, in proportion to the other shares."""
    learning_rate: float = Field(2e-3, gt=0)
    polish: Polish | None = Polish()
    prior: Annotated[FlowPrior | GaussianPrior, Field(discriminator="kind")] = FlowPrior()

    def build(self, image: ImageSpec, categories: tuple[str, ...], conditions: tuple[Condition, ...] = ()) -> VAE:
        from packshot.models.vae.model import VAE

        return VAE(self, image, categories, conditions)
