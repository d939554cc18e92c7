"""What a critic sees of pictures so that a small catalogue does not wear out."""

from packshot.models.augment.config import Adaptive, AnyAugment, Diff, Translation

__all__ = ["Adaptive", "AnyAugment", "Diff", "Translation"]
