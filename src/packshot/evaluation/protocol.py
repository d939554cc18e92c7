"""What the section `evaluate` of params.yaml declares: how much of which evidence, with which seeds."""

from __future__ import annotations

from pydantic import Field

from packshot.records import Record


class ExtractorParams(Record):
    """How the catalogue's own classifier is trained: the eyes of every metric that says `catalog` or `class`."""

    epochs: int = Field(ge=1, le=200)
    width: int = Field(ge=4, le=128)
    """Channels of the first layer; the features are four times as many."""
    seed: int = Field(ge=0, lt=2**31)


class EvaluateParams(Record):
    """The section `evaluate`: one protocol for every checkpoint."""

    samples: int = Field(ge=1, le=100_000)
    """Pictures drawn by each checkpoint, in the categories' real proportions."""
    seed: int = Field(ge=0, lt=2**31)
    """Picture i is drawn from seed + i; everything else that is drawn by lot starts here too."""
    searched_photos: int = Field(ge=1)
    """How many held-out photos a model without an encoder searches for: it is costly."""
    neighbours: int = Field(5, ge=1, le=50)
    """The k of precision, recall, density and coverage."""
    resamples: int = Field(10_000, ge=1_000, le=1_000_000)
    """Bootstrap resamples behind each interval."""
    extractor: ExtractorParams
