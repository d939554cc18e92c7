"""The families of generators. Adding one: write its folder (config.py, model.py), then add it to AnyModel."""

from typing import Annotated

from pydantic import Field

from packshot.models import gan, stylegan2, vae

AnyModel = Annotated[vae.Config | gan.Config | stylegan2.Config, Field(discriminator="family")]
