"""What a catalogue must be like before anything is learnt from it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from packshot.records import Record

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class ValidateParams(Record):
    """The section `validate` of params.yaml. A broken critical rule stops the pipeline; a warning is reported."""

    min_photos: int = Field(ge=1)
    """Critical: photos in all."""
    min_photos_a_category: int = Field(ge=1)
    """Critical: photos of each category."""
    min_categories: int = Field(1, ge=1)
    """Critical: categories."""
    max_quarantined_share: Share
    """Critical: files that could not be taken in, of all that were offered; repeats of a photo are not counted."""
    max_duplicate_share: Share
    """Warning: repeated and near-duplicate photos, of all."""
    min_side: int = Field(ge=1)
    """Warning: pixels of a photo's shorter side."""
    max_aspect: float = Field(ge=1.0)
    """Warning: longer side by shorter side."""
    min_sharpness: float = Field(ge=0.0)
    """Warning: images.measure."""
    min_brightness: Share
    max_brightness: Share
    """Warning: mean luma, 0..1."""
    min_contrast: float = Field(ge=0.0, le=0.5)
    """Warning: standard deviation of the luma, 0..0.5."""
    min_fill: Share
    """Warning: share of the picture that the product covers."""
