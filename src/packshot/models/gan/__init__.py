"""The family `gan`."""

from packshot.models.augment.config import Adaptive, Diff, Translation
from packshot.models.config import Search
from packshot.models.gan.config import Config

__all__ = ["Adaptive", "Config", "Diff", "Search", "Translation"]
