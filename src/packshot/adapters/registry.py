"""The door to MLflow's model registry: versions whose bytes are safetensors and plain files, each known by digest.

MLflow stores the bytes and shows the page; it is not trusted with either. What a version holds is checked against the digests in
its manifest whenever it is fetched, a version is found by what it holds and never by its name, and the alias `champion` only
mirrors the ledger.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from packshot.adapters.tracking import Tracking
from packshot.errors import IntegrityError, Unavailable, UsageError
from packshot.layout import Layout
from packshot.records import Digest, Record, Version, file_digest

Alias = Literal["candidate", "champion"]
MANIFEST = "manifest.json"
WEIGHTS, TRAINING = "weights.safetensors", "training.safetensors"
"""What every version holds, and what one holds beside it where its family has parts that only training needs."""
PATIENCE_SECONDS = 60
"""A person waits for a release; a training does not wait for its tracking."""


class ManifestFile(Record):
    path: str
    sha256: Digest


class Manifest(Record):
    """Every file of a version."""

    files: tuple[ManifestFile, ...]

    @classmethod
    def of(cls, folder: Path) -> Manifest:
        """The manifest of the files below `folder`, itself left out."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
        return cls(files=tuple(ManifestFile(path=str(path.relative_to(folder)), sha256=file_digest(path)) for path in paths))


@dataclass(frozen=True, slots=True)
class Registered:
    """A version as the registry has it."""

    version: Version
    verdict: str
    """The digest of the gate's verdict."""
    manifest: str
    """The digest of the manifest."""
    tags: Mapping[str, str]
    source: str


class Registry:
    """The versions of one model. Whatever MLflow does not answer becomes Unavailable."""

    def __init__(self, layout: Layout, model: str, *, seconds: int = PATIENCE_SECONDS) -> None:
        self.tracking, self.model, self.seconds = Tracking.open(layout), model, seconds

    def find(self, sha256: str, verdict: str) -> Registered | None:
        """The version that holds these weights and this verdict on them."""
        with self._asking() as client:
            condition = f"name = '{self.model}' and tags.sha256 = '{sha256}' and tags.verdict = '{verdict}'"
            found = client.search_model_versions(condition, order_by=["version_number ASC"])
            return self._read(client, found[0].version) if found else None

    def at(self, alias: Alias) -> Registered | None:
        """The version that `alias` names."""
        if not self.tracking.begun:
            return None
        from mlflow.exceptions import MlflowException

        with self._asking() as client:
            try:
                found = client.get_model_version_by_alias(self.model, alias)
            except MlflowException as error:
                if error.error_code in {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"}:
                    return None
                raise
            return self._read(client, found.version)

    def version(self, number: int) -> Registered:
        """One version by its number. Raises UsageError where there is none."""
        none_such = UsageError(f"{self.model} has no version {number}", advice="MLflow's page of the model lists those there are")
        if not self.tracking.begun:
            raise none_such
        from mlflow.exceptions import MlflowException

        with self._asking() as client:
            try:
                return self._read(client, number)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                raise none_such from error

    def add(
        self, folder: Path, version: Version, tags: Mapping[str, str], run: str, describe: Callable[[str], str]
    ) -> Registered:
        """Make a version of what stands in `folder`, a manifest among it, and give it back with its number.

        `version` and `tags` become its tags, `run` is the MLflow run that it came from, and `describe` writes its page from the
        address below which MLflow shows its files. The upload is read back before the version exists. Raises IntegrityError
        where what was read back is not what was sent.
        """
        from mlflow.exceptions import MlflowException

        manifest = file_digest(folder / MANIFEST)
        tags = {
            **tags,
            "sha256": version.sha256,
            "checkpoint": version.checkpoint,
            "dataset": version.dataset,
            "manifest": manifest,
        }
        with self._asking() as client:
            try:
                client.create_registered_model(self.model, description="Generators of product pictures, each judged by the gate.")
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            experiment = client.get_run(run).info.experiment_id
            model = client.create_logged_model(experiment, self.model, source_run_id=run, tags=tags, model_type="generator")
            client.log_model_artifacts(model.model_id, str(folder))
            with tempfile.TemporaryDirectory(prefix="packshot-") as draft:
                self._download(client, model.model_uri, Path(draft), manifest)
            client.finalize_logged_model(model.model_id, "READY")
            page = describe(f"ajax-api/2.0/mlflow/logged-models/{model.model_id}/artifacts/files?artifact_file_path=")
            made = client.create_model_version(
                self.model, model.model_uri, run_id=run, tags=tags, description=page, model_id=model.model_id
            )
            return self._read(client, made.version)

    def fetch(self, registered: Registered, folder: Path) -> Path:
        """Download a version below `folder`, check every file of it, and say where it is.

        Raises IntegrityError where bytes are not those that were registered.
        """
        with self._asking() as client:
            return self._download(client, registered.source, folder, registered.manifest)

    def point(self, alias: Alias, version: int | None) -> None:
        """Let `alias` name a version, or none."""
        with self._asking() as client:
            if version is None:
                if self.at(alias) is not None:
                    client.delete_registered_model_alias(self.model, alias)
            else:
                client.set_registered_model_alias(self.model, alias, str(version))

    def note(self, version: int, name: str, value: str) -> None:
        """Set a tag on a version."""
        with self._asking() as client:
            client.set_model_version_tag(self.model, str(version), name, value)

    def _read(self, client: Any, number: int | str) -> Registered:
        found = client.get_model_version(self.model, str(number))
        tags = dict(found.tags)
        if missing := {"sha256", "verdict", "manifest", "checkpoint", "dataset"} - tags.keys():
            raise IntegrityError(
                f"it has no tags {', '.join(sorted(missing))}: packshot did not make it",
                where=f"{self.model} version {number}",
                advice="register a version with packshot, and leave the aliases to it",
            )
        kept = {name: tags[name] for name in ("sha256", "checkpoint", "dataset")}
        try:
            version = Version(model=self.model, version=int(found.version), passed=tags.get("passed") == "true", **kept)
        except ValidationError as error:
            where = f"{self.model} version {number}"
            raise IntegrityError("its tags are not packshot's", where=where, advice="register the model again") from error
        return Registered(version, tags["verdict"], tags["manifest"], tags, str(found.source))

    def _download(self, client: Any, source: str, folder: Path, manifest: str) -> Path:
        if not re.fullmatch(r"models:/m-[0-9a-f]+", source):
            raise IntegrityError("not a model of this registry", where=source, advice="register it again")
        from mlflow.artifacts import download_artifacts

        place = client.get_logged_model(source.removeprefix("models:/")).artifact_location
        folder = Path(download_artifacts(artifact_uri=place, dst_path=str(folder), tracking_uri=self.tracking.uri))
        path = folder / MANIFEST
        if not path.is_file() or file_digest(path) != manifest:
            raise _changed(MANIFEST, source)
        declared = Manifest.read(path)
        if (found := Manifest.of(folder)) != declared:
            odd = {file.path for file in {*found.files} ^ {*declared.files}}
            raise _changed(", ".join(sorted(odd)), source)
        return folder

    @cached_property
    def _client(self) -> Any:
        return self.tracking.connect()

    @contextmanager
    def _asking(self) -> Iterator[Any]:
        """The client, with a person's patience, and with its faults as Unavailable."""
        client = self._client
        from mlflow.exceptions import MlflowException

        # Here and there MLflow makes a client of its own, which knows but the environment.
        lent = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(self.seconds), "MLFLOW_TRACKING_URI": self.tracking.uri}
        usual = {name: os.environ.get(name) for name in lent}
        os.environ.update(lent)
        try:
            yield client
        except (MlflowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's, not the server's
            raise Unavailable(f"MLflow says: {' '.join(str(error).split())[:300]}", where=self.tracking.address) from error
        finally:
            for name, value in usual.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def _changed(what: str, source: str) -> IntegrityError:
    return IntegrityError(f"{what} in the registry is not what was registered", where=source, advice="register the model again")
