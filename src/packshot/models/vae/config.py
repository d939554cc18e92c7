"""What params.yaml can set of the family `vae`; the networks stand in model.py, which alone needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from packshot.models.config import ModelConfig, Preset, PresetName
from packshot.records import Condition, ImageSpec, Record

if TYPE_CHECKING:
    from packshot.models.vae.model import VAE

MOST_GAUSSIAN = 256
"""Numbers of a latent that class Gaussians are fitted to: beyond it a covariance has more entries than photos can tell of."""


class Grid(Record):
    """A latent that is a grid, so that it says where something is: KL-f4 and KL-f8 (Rombach et al. 2022, appendix G)."""

    factor: Literal[4, 8] = 8
    """Pixels of the picture, along each side, to a place of the grid."""
    channels: int = Field(4, ge=1, le=64)
    """Numbers at each place."""
    blocks: int = Field(1, ge=1, le=8)
    """Residual blocks of each level of encoder and decoder."""

    def shape(self, image: ImageSpec) -> tuple[int, int, int]:
        """(channels, side, side) for such pictures."""
        side = image.size // self.factor
        return self.channels, side, side


class Perceptual(Record):
    """A term for what pictures look like rather than for their pixels: distances of a small classifier's features.

    The classifier learns from the training photos at the run's beginning, and rests from then on; it is no network of evaluate's.
    """

    weight: float = Field(0.2, gt=0)
    """Of the term, beside half the logarithm of the mean squared error."""
    share: float = Field(20, gt=0)
    """Of the run's steps, for the classifier, in proportion to the other shares."""
    width: int = Field(24, ge=4, le=512)
    """Channels of the classifier's finest grid; at most four times as many further down."""
    learning_rate: float = Field(2e-3, gt=0)
    """Of the classifier."""


class Polish(Record):
    """The decoder trained on against a critic, the encoder frozen: sharper pictures for a little PSNR (a VAE-GAN's decoder)."""

    share: float = Field(50, gt=0)
    """Of the run's steps, in proportion to the other shares."""
    weight: float = Field(0.05, gt=0)
    """Of the adversarial term, beside half the logarithm of the mean squared error."""
    learning_rate: float = Field(5e-4, gt=0)
    """Of the decoder, meanwhile."""
    critic_learning_rate: float = Field(1e-3, gt=0)
    critic_width: int = Field(32, ge=4, le=512)
    """Channels of the critic's finest grid; four times as many at 4 x 4."""
    penalty: float = Field(0.02, ge=0)
    """Gamma of R1 and R2, on pixels in [-1, 1]."""
    penalty_every: int = Field(16, ge=1)
    """Steps between two turns of the penalty, each as much stronger."""
    translation: float = Field(0.5, ge=0, le=1)
    """How often a picture is shifted before the critic sees it."""


class FlowPrior(Record):
    """A latent flow that knows the category, and the attributes where there are any."""

    kind: Literal["flow"] = "flow"
    share: float = Field(120, gt=0)
    """Of the run's steps, in proportion to the other shares."""
    width: int = Field(384, ge=8, le=4096)
    """Numbers of a layer; of a token where the latent is a grid."""
    blocks: int = Field(4, ge=1, le=64)
    """Of residual layers where the latent is a vector; of a transformer where it is a grid."""
    patch: Literal[1, 2] = 1
    """Places along each side of a grid's squares that the transformer reads as one."""
    learning_rate: float = Field(1e-3, gt=0)
    batch_size: int = Field(256, ge=1)
    """Latents of a step: they are cheap."""
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


def _kind_of_latent(latent: object) -> str:
    return "grid" if isinstance(latent, dict | Grid) else "vector"


class Config(ModelConfig):
    """`model:` of a run with `family: vae`."""

    family: Literal["vae"] = "vae"
    latent: Annotated[
        Annotated[Annotated[int, Field(ge=2, le=1024)], Tag("vector")] | Annotated[Grid, Tag("grid")],
        Discriminator(_kind_of_latent),
    ] = 64
    """How many numbers a vector has; or a grid."""
    width: int = Field(16, ge=4, le=512)
    """Channels of the decoder's finest grid; eight times as many at 4 x 4, or four times before a latent grid."""
    share: float = Field(141, gt=0)
    """The autoencoder's part of the run's steps, in proportion to the other shares."""
    learning_rate: float = Field(2e-3, gt=0)
    """Of encoder and decoder."""
    perceptual: Perceptual | None = None
    """Left out where there is none."""
    polish: Polish | None = Polish()
    """Left out where it is null."""
    prior: Annotated[FlowPrior | GaussianPrior, Field(discriminator="kind")] = FlowPrior()
    """What new pictures' latents are drawn from; never N(0, I)."""

    @model_validator(mode="after")
    def _read_patches_of_grids(self) -> Self:
        if isinstance(self.prior, FlowPrior) and self.prior.patch > 1 and not isinstance(self.latent, Grid):
            raise ValueError("prior.patch is of latents that are a grid; this one is a vector")
        return self

    def latent_shape(self, image: ImageSpec) -> tuple[int, ...]:
        """Of the latent of such pictures: (d,) or (channels, side, side)."""
        return self.latent.shape(image) if isinstance(self.latent, Grid) else (self.latent,)

    def refuse(self, image: ImageSpec, categories: int) -> str:
        shape = self.latent_shape(image)
        if isinstance(self.prior, GaussianPrior) and len(shape) == 3 and (numbers := shape[0] * shape[1] ** 2) > MOST_GAUSSIAN:
            return (
                f"class_gaussians hold {MOST_GAUSSIAN} numbers of a grid at most, not {numbers}; "
                "take the flow, a larger factor or fewer channels"
            )
        if self.perceptual and categories < 2:
            return "the perceptual term's classifier needs two categories to tell apart"
        return ""

    @classmethod
    def presets(cls) -> Mapping[PresetName, Preset]:
        from packshot.models.vae.presets import PRESETS

        return PRESETS

    def build(self, image: ImageSpec, categories: tuple[str, ...], conditions: tuple[Condition, ...] = ()) -> VAE:
        from packshot.models.vae.model import VAE

        return VAE(self, image, categories, conditions)
