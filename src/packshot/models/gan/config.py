"""What params.yaml can set of the family `gan`; the networks stand in model.py, which alone needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from packshot.models.augment.config import AnyAugment, Translation
from packshot.models.config import Game, ModelConfig, Preset, PresetName, Search
from packshot.records import Condition, ImageSpec

if TYPE_CHECKING:
    from packshot.models.gan.model import GAN


class Config(ModelConfig):
    """`model:` of a run with `family: gan`."""

    family: Literal["gan"] = "gan"
    latent: int = Field(128, ge=2, le=1024)
    """Numbers of the noise."""
    width: int = Field(32, ge=4, le=512)
    """Channels of both networks' finest grid; four times as many at 4 x 4. Multiples of 16 fill a CPU's registers."""
    upsampling: Literal["resized", "transposed"] = "resized"
    """How the generator doubles a side: pixels repeated before the convolution, or DCGAN's transposed one. They cost the same."""
    critic: Literal["comparing", "normalised"] = "comparing"
    """Without normalisation, and told how much a category varies in the batch; or batch normalised, as DCGAN has it."""
    loss: Game = "relativistic"
    recognition: float = Field(0.3, ge=0)
    """Weight of the critic's telling photos' categories, beside `loss`; 0 leaves it out."""
    learning_rate: float = Field(1e-3, gt=0)
    """Of both networks."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """Adam's first beta; DCGAN has 0.5."""
    final_share: float = Field(0.05, ge=0, le=1)
    """What the cosine leaves of the learning rate."""
    penalty: float = Field(1.0, ge=0)
    """Gamma of R1 and R2, on pixels in [-1, 1]; 0 leaves them out."""
    penalise_drawn: bool = True
    """Whether there is R2 beside R1."""
    penalty_every: int = Field(8, ge=1)
    """Steps between two turns of the penalty, each as much stronger."""
    augment: AnyAugment | None = Translation()
    """What the critic is shown of pictures."""
    half_life: float = Field(10_000, ge=0)
    """Of the generator's moving average, in images; 0 deploys it as the last step leaves it."""
    search: Search = Search()
    """How a photo is drawn again."""

    @classmethod
    def presets(cls) -> Mapping[PresetName, Preset]:
        from packshot.models.gan.presets import PRESETS

        return PRESETS

    def build(self, image: ImageSpec, categories: tuple[str, ...], conditions: tuple[Condition, ...] = ()) -> GAN:
        from packshot.models.gan.model import GAN

        return GAN(self, image, categories, conditions)
