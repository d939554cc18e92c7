"""Where product photos come from; the union below is the registry of sources."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from packshot.images.colour import HexColour
from packshot.images.manifest import CORE_COLUMNS
from packshot.records import AttributeKind, AttributeName, Record
from packshot.sources.archive import Archive
from packshot.sources.datasets import Torchvision
from packshot.sources.folder import Folder
from packshot.sources.packed import Packed
from packshot.sources.synthetic import Synthetic
from packshot.sources.table import Table

AnySource = Annotated[Packed | Folder | Table | Archive | Torchvision | Synthetic, Field(discriminator="kind")]
"""A source, dispatched by `kind:`."""


class IngestParams(Record):
    """The section `ingest` of params.yaml."""

    source: AnySource
    side: int = Field(ge=16, le=2048)
    """Photos are kept at this many pixels for the longer side, at most; smaller ones are never enlarged."""
    background: HexColour = "#ffffff"
    """What shows through transparent pixels."""
    duplicate_radius: int = Field(ge=0, le=16)
    """Bits of 64 by which the hashes of near-duplicates may differ (images.fingerprint)."""
    attributes: dict[AttributeName, AttributeKind] = Field(default_factory=dict)
    """The typed columns that are taken over from the source, by name."""

    @model_validator(mode="after")
    def _keep_columns_apart(self) -> Self:
        if taken := sorted(self.attributes.keys() & set(CORE_COLUMNS)):
            raise ValueError(f"attributes cannot be called {', '.join(taken)}: the manifest has columns of these names")
        return self
