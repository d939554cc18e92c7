"""The families of generators. Adding one: write its file, then add it to AnyModel."""

from typing import Annotated

from pydantic import Field

from packshot.models import gan, vae
from packshot.models.base import ImageModel, ModelConfig

AnyModel = Annotated[vae.Config | gan.Config, Field(discriminator="family")]

__all__ = ["AnyModel", "ImageModel", "ModelConfig"]
