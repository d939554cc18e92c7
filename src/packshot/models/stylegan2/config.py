"""What params.yaml can set of the family `stylegan2`; the networks stand elsewhere, which alone need torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from packshot.models.augment import AnyAugment, Translation
from packshot.models.config import Game, ModelConfig, Preset, PresetName, Search
from packshot.records import Condition, ImageSpec

if TYPE_CHECKING:
    from packshot.models.stylegan2.model import StyleGAN2


NARROWEST = 4
"""Channels of the finest grid at least: fewer draw no colours apart."""


class Config(ModelConfig):
    """`model:` of a run with `family: stylegan2`.

    What is not written suits a CPU and some thousand steps; the presets for a GPU have the papers' settings.
    """

    family: Literal["stylegan2"] = "stylegan2"
    latent: int = Field(64, ge=2, le=1024)
    """Numbers of the noise, and of w."""
    mapping_layers: int = Field(2, ge=1, le=16)
    """From the noise to w."""
    capacity: int = Field(512, ge=64, le=65_536)
    """Channels of a grid times its side, in both networks: 512 are 16 channels at 32 x 32, 32 at 16 x 16 ..."""
    widest: int = Field(64, ge=4, le=1024)
    """Channels of a grid at most."""
    learning_rate: float = Field(0.02, gt=0)
    """Of both networks, before their lazy terms take their part of it; the mapping learns at a hundredth.

    All weights begin as N(0, 1): at the papers' 0.0025 a thousand steps hardly move them.
    """
    final_share: float = Field(0.1, ge=0, le=1)
    """What the cosine leaves of the learning rate."""
    game: Game = "relativistic"
    """What critic and generator lower; StyleGAN2's is the non-saturating logistic loss."""
    augment: AnyAugment | None = Translation(chance=0.3)
    """What the critic is shown of pictures."""
    penalty: float = Field(1.0, ge=0)
    """Gamma of R1, on pixels in [-1, 1]."""
    penalty_every: int = Field(8, ge=1)
    """Steps between two turns of R1, each as much stronger."""
    path_length: float = Field(0.0, ge=0)
    """Weight of the path length's deviation; 0 leaves it out."""
    path_length_every: int = Field(8, ge=1)
    """Steps between two turns of the path length, each as much stronger."""
    mixing: float = Field(0.9, ge=0, le=1)
    """How often a picture in training has two latents, one up to a layer and another from there on."""
    half_life: float = Field(10_000, gt=0)
    """Of the generator's moving average, in images."""
    truncation: float = Field(1.0, gt=0, le=1)
    """What the pictures' own truncation is multiplied by: below 1, everything that is drawn is nearer to its category's mean."""
    search: Search = Search()
    """How a photo is drawn again."""

    def refuse(self, image: ImageSpec, categories: int) -> str:
        channels = self.capacity // image.size
        if channels >= NARROWEST:
            return ""
        wanted = NARROWEST * image.size
        return f"a capacity of {self.capacity} is {channels} channels at {image.size} px; take {wanted} or more, or a preset"

    @classmethod
    def presets(cls) -> Mapping[PresetName, Preset]:
        from packshot.models.stylegan2.presets import PRESETS

        return PRESETS

    def build(self, image: ImageSpec, categories: tuple[str, ...], conditions: tuple[Condition, ...] = ()) -> StyleGAN2:
        from packshot.models.stylegan2.model import StyleGAN2

        return StyleGAN2(self, image, categories, conditions)
