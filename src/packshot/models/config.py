"""What describes a family in params.yaml: read by every command, so without torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from packshot.records import Condition, ImageSpec, Record

if TYPE_CHECKING:
    from packshot.models.base import ImageModel


class ModelConfig(Record, ABC):
    """The part of params.yaml that describes one family; a member of the union, dispatched by `family:`."""

    @abstractmethod
    def build(self, image: ImageSpec, categories: tuple[str, ...], conditions: tuple[Condition, ...] = ()) -> ImageModel:
        """The untrained generator. Its initial weights come from torch's global generator."""
