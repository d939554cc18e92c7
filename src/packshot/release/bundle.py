"""What one version is made of: the weights, and everything that a reviewer needs to trust them. Plain files, each by digest."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.parquet as pq

from packshot.adapters.registry import MANIFEST, TRAINING, WEIGHTS, Manifest, Registered
from packshot.errors import DataRejected, GateRefused, IntegrityError
from packshot.evaluation.report import CAPTIONS, picture_name
from packshot.images.colour import HexColour
from packshot.images.shards import open_index
from packshot.layout import Layout
from packshot.models.weights import WeightsCard, read_card, training_path
from packshot.params import Params
from packshot.records import (
    Checkpoint,
    Dataset,
    Digest,
    EvaluationReport,
    Record,
    Scorecard,
    ServiceCard,
    TrackedRuns,
    ValidationReport,
    Verdict,
    file_digest,
    write_bytes,
)
from packshot.sources.drift import Profile


class Lineage(Record):
    """Where a version comes from."""

    data_version: str
    """DVC's md5 of the catalogue; empty where it is not under DVC."""
    git_commit: str
    mlflow_run: str
    """The run that trained it, as the stage train noted it; empty where it was not tracked."""
    experiment: str
    catalog: Digest
    """Of the catalogue that it learnt from (records.Catalog)."""
    valid_until: date | None = None
    """The last day on which every photo of the catalogue may be used; None where none expires."""
    beneath: HexColour = "#ffffff"
    """What lay beneath the photos' transparency."""
    beside: HexColour = "#ffffff"
    """What stood beside those that were not square."""

    @property
    def expired(self) -> str:
        """Why it may not be used today (UTC), '' where it may."""
        if self.valid_until is None or datetime.now(UTC).date() <= self.valid_until:
            return ""
        return f"the rights to a photo that it learnt from ended on {self.valid_until}"


@dataclass(frozen=True, slots=True)
class Bundle:
    """The files of one version in a folder."""

    folder: Path

    @property
    def weights(self) -> Path:
        return self.folder / WEIGHTS

    @property
    def training(self) -> Path:
        """What only a training that starts from these weights needs; it is never served, and not every family has any."""
        return self.folder / TRAINING

    @property
    def profile(self) -> Path:
        """What the catalogue that it learnt from is like (sources.drift)."""
        return self.folder / "profile.json"

    @property
    def learnt(self) -> Path:
        """The ids and groups of the photos that it has learnt from, as Parquet."""
        return self.folder / "learnt.parquet"

    @property
    def pictures(self) -> tuple[Path, ...]:
        """In the order of the gate's report; each is named by what it shows."""
        paths = (self.folder / "pictures" / f"{what}.png" for what in CAPTIONS)
        return tuple(path for path in paths if path.is_file())

    def verdict(self) -> Verdict:
        return Verdict.read(self.folder / "verdict.json")

    def evaluation(self) -> EvaluationReport:
        return EvaluationReport.read(self.folder / "evaluation.json")

    def lineage(self) -> Lineage:
        return Lineage.read(self.folder / "lineage.json")

    def card(self) -> WeightsCard:
        return read_card(self.weights)

    def candidate(self) -> Checkpoint:
        """The checkpoint that the verdict lets through. Raises GateRefused where there is none."""
        verdict = self.verdict()
        if not verdict.passed or verdict.candidate is None:
            raise GateRefused(verdict.reason, advice="train or gate again; data/gate/report.html says what would pass")
        return verdict.candidate

    def scorecard(self) -> Scorecard:
        """What was measured of the candidate. Raises IntegrityError where the evaluation is not the one that was judged."""
        candidate, report = self.candidate(), self.evaluation()
        found = next((card for card in report.scorecards if card.checkpoint == candidate), None)
        if found is None or report.evidence != self.verdict().evidence:
            raise IntegrityError(
                "the verdict speaks of another evaluation",
                where=str(self.folder),
                advice="run the stages evaluate and gate again",
            )
        return found

    def service_card(self, registered: Registered) -> ServiceCard:
        """What the service tells of this version."""
        card, lineage, version = self.card(), self.lineage(), registered.version
        return ServiceCard(
            model=version.model,
            version=version.version,
            sha256=version.sha256,
            family=self.candidate().family,
            image=card.image,
            categories=card.categories,
            conditions=card.conditions,
            dataset=card.dataset,
            catalog=lineage.catalog,
            data_version=lineage.data_version,
            git_commit=lineage.git_commit,
            run=card.run,
            scores=self.scorecard().scores,
            beneath=lineage.beneath,
            beside=lineage.beside,
        )

    def check(self, sha256: Digest, verdict: Digest) -> None:
        """Raise IntegrityError unless these are the weights and the verdict of those digests, and belong together."""
        if (found := file_digest(self.weights)) != sha256:
            raise _changed("the weights", found, sha256)
        training = self.candidate().training
        if training and (found := file_digest(self.training) if self.training.is_file() else "nothing") != training:
            raise _changed("what only training needs", found, training)
        if (found := self.verdict().content_digest()) != verdict:
            raise _changed("the verdict", found, verdict)
        if (judged := self.candidate().sha256) != sha256:
            raise _changed("the weights that were judged", judged, sha256)
        if (trained_on := self.card().dataset) != self.verdict().dataset:
            raise _changed("the dataset that the weights were trained on", trained_on, self.verdict().dataset)


def pack(params: Params, layout: Layout, folder: Path, *, data_version: str, git_commit: str) -> Bundle:
    """Gather the gate's candidate and its evidence from data/ in `folder`, checked, with a manifest.

    Raises GateRefused where no checkpoint passed, MissingArtifact where a stage has not run, IntegrityError where the files are
    not those that were judged, DataRejected where the rights to a photo have ended since.
    """
    gate, evaluate, train = layout.stage("gate"), layout.stage("evaluate"), layout.stage("train")
    verdict = Verdict.read(gate / "verdict.json")
    bundle = Bundle(folder)
    verdict.write(folder / "verdict.json")
    candidate = bundle.candidate()
    weights = train / candidate.path
    if not weights.is_file():
        raise IntegrityError("the candidate's weights are gone", where=str(weights), advice="run `dvc repro`")
    EvaluationReport.read(evaluate / "report.json").write(folder / "evaluation.json")
    tracked = next((run for run in TrackedRuns.read(train / "tracked.json").runs if run.run == candidate.run), None)
    dataset = _dataset(layout, verdict)
    validation = _validation(layout, dataset)
    lineage = Lineage(
        data_version=data_version,
        git_commit=git_commit,
        mlflow_run=tracked.mlflow_run if tracked else "",
        experiment=tracked.experiment if tracked else "",
        catalog=validation.catalog,
        valid_until=validation.valid_until,
        beneath=params.ingest.background,
        beside=params.prepare.background,
    )
    if lineage.expired:
        advice = "take the photo out or renew its rights, then run `dvc repro`"
        raise DataRejected(lineage.expired, where=str(layout.stage("validate") / "report.html"), advice=advice)
    lineage.write(folder / "lineage.json")
    Profile.read(layout.stage("validate") / "profile.json").write(bundle.profile)
    pq.write_table(open_index(layout.stage("prepare"), dataset, "train", ("id", "group")), bundle.learnt, compression="zstd")
    shutil.copyfile(weights, bundle.weights)
    if candidate.training and (beside := training_path(weights)).is_file():
        shutil.copyfile(beside, bundle.training)
    shutil.copyfile(gate / "report.html", folder / "report.html")
    shutil.copyfile(evaluate / "photos.parquet", folder / "photos.parquet")
    (folder / "pictures").mkdir()
    for what in CAPTIONS:
        picture = evaluate / "pictures" / picture_name(candidate, what)
        if picture.is_file():
            shutil.copyfile(picture, folder / "pictures" / f"{what}.png")
    bundle.check(candidate.sha256, verdict.content_digest())
    bundle.scorecard()
    Manifest.of(folder).write(folder / MANIFEST)
    return bundle


def keep_learnt(layout: Layout, bundle: Bundle) -> None:
    """Keep which photos a champion has learnt from: later ones are compared with it on others."""
    if bundle.learnt.is_file():  # versions that were registered before packshot noted it have none
        write_bytes(layout.learnt / f"{bundle.verdict().dataset}.parquet", bundle.learnt.read_bytes())


def _dataset(layout: Layout, verdict: Verdict) -> Dataset:
    """The very dataset that the verdict speaks of."""
    dataset = Dataset.read(layout.stage("prepare") / "dataset.json")
    if dataset.digest != verdict.dataset:
        raise _changed("the dataset that was prepared", dataset.digest, verdict.dataset)
    return dataset


def _validation(layout: Layout, dataset: Dataset) -> ValidationReport:
    """What Great Expectations said of the very catalogue that the dataset was cut from."""
    report = ValidationReport.read(layout.stage("validate") / "report.json")
    if report.catalog != dataset.catalog:
        raise _changed("the catalogue that was validated", report.catalog, dataset.catalog)
    return report


def _changed(what: str, found: str, expected: str) -> IntegrityError:
    return IntegrityError(
        f"{what}: the digest is {found[:12]}, not {expected[:12]}", advice="run `dvc repro`, then register again"
    )
