"""The family `stylegan2`."""

from packshot.models.config import Search
from packshot.models.stylegan2.config import Config

__all__ = ["Config", "Search"]
