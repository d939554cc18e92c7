"""The door to BentoML's model store: the weights that may be served, each beside the card that describes it.

What stands here was registered, reviewed and warmed up; a rollback needs nothing else. Store and weights are found by digest: a
tag that holds other bytes than it says is refused, and put again from verified ones.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packshot.errors import IntegrityError, MissingArtifact
from packshot.layout import Layout
from packshot.records import ServiceCard, file_digest

WEIGHTS, CARD = "weights.safetensors", "card.json"


@dataclass(frozen=True, slots=True)
class Shelved:
    """One version in the store, its digests checked."""

    tag: str
    weights: Path
    card: Path


class Shelf:
    """The model store of one project."""

    def __init__(self, layout: Layout) -> None:
        self.folder = (layout.bento_home / "models").absolute()

    @staticmethod
    def tag(model: str, version: int, sha256: str) -> str:
        """`packshot:v3-0123456789ab`: the registry's version and the weights' digest."""
        return f"{model}:v{version}-{sha256[:12]}"

    def put(self, weights: Path, card: ServiceCard) -> Shelved:
        """Copy verified weights and their card into the store; once, however often it is asked for.

        Raises IntegrityError where `weights` are not those of the card.
        """
        if (found := file_digest(weights)) != card.sha256:
            raise IntegrityError(
                f"the sha256 is {found}, not {card.sha256}", where=str(weights), advice="fetch the weights again"
            )
        tag = self.tag(card.model, card.version, card.sha256)
        try:
            shelved = self.find(card.model, card.version, card.sha256)
            if ServiceCard.read(shelved.card) == card:
                return shelved
        except (MissingArtifact, IntegrityError):
            pass
        store = self._store()
        if self._path(tag).exists():
            store.delete(tag)
        import bentoml

        labels = {"version": str(card.version), "family": card.family, "dataset": card.dataset[:12]}
        with bentoml.models.create(tag, labels=labels, metadata={"sha256": card.sha256}, _model_store=store) as model:
            shutil.copyfile(weights, model.path_of(WEIGHTS))
            card.write(Path(model.path_of(CARD)))
        _sync(self._path(tag))
        return self.find(card.model, card.version, card.sha256)

    def find(self, model: str, version: int, sha256: str) -> Shelved:
        """What stands in the store for this version, its digest checked again.

        Raises MissingArtifact where there is nothing, IntegrityError where it is not what it says.
        """
        tag = self.tag(model, version, sha256)
        shelved = Shelved(tag, self._path(tag) / WEIGHTS, self._path(tag) / CARD)
        if not (shelved.weights.is_file() and shelved.card.is_file()):
            raise MissingArtifact(f"{tag} is not in the model store", where=str(self.folder), advice="promote it again")
        if (found := file_digest(shelved.weights)) != sha256:
            raise IntegrityError(f"the sha256 is {found}, not {sha256}", where=str(shelved.weights), advice="promote it again")
        card = ServiceCard.read(shelved.card)
        if (card.model, card.version, card.sha256) != (model, version, sha256):
            raise IntegrityError("the card describes another version", where=str(shelved.card), advice="promote it again")
        return shelved

    def _path(self, tag: str) -> Path:
        return self.folder / tag.replace(":", "/")

    def _store(self) -> Any:
        os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")
        from bentoml._internal.models import ModelStore

        self.folder.mkdir(parents=True, exist_ok=True)
        return ModelStore(self.folder)


def _sync(folder: Path) -> None:
    """Make the files of a folder, their names and the folder's own name survive a power failure."""
    for path in (*folder.iterdir(), folder, folder.parent):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
