"""The family `gan`."""

from packshot.models.gan.config import Config, Search

__all__ = ["Config", "Search"]
