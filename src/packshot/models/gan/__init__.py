"""The family `gan`."""

from packshot.models.config import Search
from packshot.models.gan.config import Config

__all__ = ["Config", "Search"]
