"""What describes a family in params.yaml: read by every command, so without torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from packshot.records import Condition, ImageSpec, Record

if TYPE_CHECKING:
    from packshot.models.base import ImageModel


PresetName = Literal["cpu-demo", "gpu-128", "gpu-256"]

Game = Literal["relativistic", "bce", "hinge", "non_saturating"]
"""What a generator and its critic play against each other: models/adversarial.py says which rules each has."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings of a run that were found to suit pictures of some sizes and a kind of machine.

    Of `model` those count that are written; what params.yaml writes goes before.
    """

    sizes: tuple[int, ...]
    """The sides of pictures, in pixels, that it is for."""
    model: ModelConfig
    batch_size: int
    steps: int


class ModelConfig(Record, ABC):
    """The part of params.yaml that describes one family; a member of the union, dispatched by `family:`."""

    @classmethod
    def presets(cls) -> Mapping[PresetName, Preset]:
        """The family's presets by name: `PRESETS` in the family's presets.py."""
        return {}

    def refuse(self, image: ImageSpec, categories: int) -> str:
        """Why such a model cannot learn such pictures of that many categories; empty where it can."""
        return ""

    @abstractmethod
    def build(self, image: ImageSpec, categories: tuple[str, ...], conditions: tuple[Condition, ...] = ()) -> ImageModel:
        """The untrained generator. Its initial weights come from torch's global generator."""


class Search(Record):
    """How a photo's latent is searched: the protocol is part of the model, since more search always finds more."""

    steps: int = Field(100, ge=1, le=10_000)
    """Of Adam, from each first guess."""
    restarts: int = Field(1, ge=1, le=16)
    """First guesses, the best of whose ends counts."""
    candidates: int = Field(640, ge=1, le=100_000)
    """Random latents whose 8 x 8 thumbnails are compared for the first guess of each restart."""
    learning_rate: float = Field(0.05, gt=0)
    warmup_steps: int = Field(20, ge=0)
    seed: int = Field(0, ge=0)
    """Of the random latents."""
