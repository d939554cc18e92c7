"""What the stages hand to each other: frozen, typed, and one JSON file each."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from packshot.errors import IntegrityError, MissingArtifact, OutOfResources
from packshot.failpoints import failpoint

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""A name that people choose and that becomes a part of a path: a run, a category's slug, a model."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A sha256 in hexadecimal."""


FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A file beside the record that names it, which may come from elsewhere: never a path that leads out of the folder."""

CHUNK = 64 * 1024
"""Bytes that are written at once, at least, where there are as many."""


class Record(BaseModel):
    """Something that is ever written to disk: never changed, never wider than declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def write(self, path: Path) -> None:
        """Write the record as indented JSON, all of it or nothing."""
        write_bytes(path, (self.model_dump_json(indent=2) + "\n").encode())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read back what `write` wrote.

        Raises MissingArtifact (and names the stage that writes it) where there is no such file, IntegrityError where it is
        not such a record.
        """
        require_artifact(path)
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            fault = error.errors()[0]
            raise IntegrityError(
                f"not a {cls.__name__}: {'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}",
                where=str(path),
                advice=f"run the stage '{path.parent.name}' again",
            ) from error

    def content_digest(self) -> str:
        """The sha256 of the record's canonical JSON (sorted keys, no spaces)."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def require_artifact(path: Path) -> None:
    """Raise MissingArtifact, which names the stage that writes it, where there is no file `path`."""
    if not path.is_file():
        stage = path.parent.name
        raise MissingArtifact("no such file", where=str(path), advice=f"the stage that writes it is '{stage}': run it first")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file all or nothing, and durably: draft, fsync, rename, fsync of the folder.

    Raises OutOfResources where the disk has no room.
    """
    write_parts(path, [content], len(content))


def write_parts(path: Path, parts: Iterable[bytes | memoryview], size: int, *, seal: bool = False) -> str:
    """Write a file of `size` bytes part by part, all or nothing and durably, and return its sha256.

    With `seal` the digest becomes a part of the name: state-3.safetensors is then state-3-<sha256>.safetensors. A write or an
    fsync that fails is final: what the system still holds of the draft may never reach the disk, so it is dropped and not tried
    again.
    Raises OutOfResources where the disk has no room, before anything is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    require_room(path.parent, size)
    draft, digest = path.with_name(f".{path.name}.{os.getpid()}.draft"), hashlib.sha256()
    with take_room(path, size):
        try:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
            try:
                for chunk in _chunks(parts):
                    digest.update(chunk)
                    _write_all(handle, memoryview(chunk))
                failpoint("records.written")
                os.fsync(handle)
            finally:
                os.close(handle)
            failpoint("records.drafted")
            draft.replace(path.with_name(f"{path.stem}-{digest.hexdigest()}{path.suffix}") if seal else path)
        finally:
            draft.unlink(missing_ok=True)
    failpoint("records.renamed")
    sync_folder(path.parent)
    return digest.hexdigest()


def _chunks(parts: Iterable[bytes | memoryview]) -> Iterator[bytearray | memoryview]:
    """The parts, small ones together: thousands of them need not cost a call each."""
    pending = bytearray()
    for part in parts:
        if pending and len(pending) + len(part) > CHUNK:
            yield pending
            pending = bytearray()
        if len(part) >= CHUNK:
            yield memoryview(part)
        else:
            pending += part
    yield pending


def _write_all(handle: int, content: memoryview) -> None:
    """The system may take less than it is given."""
    while content:
        content = content[os.write(handle, content) :]


def sync_folder(folder: Path) -> None:
    """Make durable which files a folder holds."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def file_draft(path: Path, size: int) -> Iterator[Path]:
    """The draft of a file of `size` bytes: it takes the file's place when the block ends well; otherwise nothing is left.

    Raises OutOfResources on a full disk, with what is needed and what is free.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    with take_room(path, size):
        try:
            yield draft
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


@contextmanager
def take_room(path: Path, size: int) -> Iterator[None]:
    """Turn a full disk, while `size` bytes are written to `path`, into OutOfResources with what is needed and what is free."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        free = shutil.disk_usage(path.parent).free
        raise OutOfResources(
            f"{error.strerror}: {size:,} bytes are needed, {free:,} are free",
            where=str(path),
            advice="make room, then run it again",
        ) from error


def require_room(folder: Path, size: int) -> None:
    """Raise OutOfResources, with what is needed and what is free, where `folder` has no room for `size` bytes more."""
    disk = shutil.disk_usage(folder)
    if disk.total and disk.free < size:  # a file system that tells nothing has a total of 0
        raise OutOfResources(
            f"the disk is too full: {size:,} bytes are needed, {disk.free:,} are free",
            where=str(folder),
            advice="make room, then run it again",
        )


def file_digest(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _power_of_two(size: int) -> int:
    if size & (size - 1):
        raise ValueError(f"{size} is not a power of two; 32, 64 and 128 are")
    return size


class ImageSpec(Record):
    """The one shape that every picture of a run has: RGB, square."""

    size: Annotated[int, AfterValidator(_power_of_two)] = Field(32, ge=16, le=1024)
    channels: Literal[3] = 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return (self.channels, self.size, self.size)


# --- ingest, validate, prepare ------------------------------------------------------------------------------------------


class CategoryCount(Record):
    """How many photos of one category."""

    category: str
    photos: int = Field(ge=0)


class BadPhoto(Record):
    """A photo that was refused, and why."""

    path: str
    category: str
    reason: str
    detail: str
    sha256: str = ""
    """Of the file's bytes, where they were read."""


AttributeKind = Literal["label", "number", "text", "date", "flag"]
"""label: one of a finite set of words · number: a float · text: free, a caption · date: YYYY-MM-DD · flag: true or false."""

AttributeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]


class Attribute(Record):
    """One typed column that a shop's photos have beside their category."""

    name: AttributeName
    kind: AttributeKind


class Shard(Record):
    """One file of a sharded table: the rows whose sha256 begins with the bits of `prefix`."""

    name: FileName
    """The file's name: it carries a part of the digest, so that no shard is ever overwritten by another."""
    prefix: str = Field(pattern=r"^[01]*$")
    rows: int = Field(gt=0)
    size: int = Field(gt=0)
    """Bytes of the file."""
    sha256: Digest
    """Of the file."""


class Catalog(Record):
    """What ingest brought in. Beside it stand the photos (photos-*.parquet), manifest.parquet, a row each, and copies.parquet."""

    source: str
    photos: int = Field(ge=0)
    side: int = Field(gt=0)
    recipe: Digest
    """Of all that decides what a file's bytes become: side, background, versions. Under another, nothing is reused."""
    attributes: tuple[Attribute, ...] = ()
    counts: tuple[CategoryCount, ...]
    quarantined: tuple[BadPhoto, ...]
    shards: tuple[Shard, ...]
    digest: Digest
    """Of the photos' pixels, names, categories, rights and attributes: the same photos give the same digest."""


class Expectation(Record):
    """One expectation of the suite, and what came of it."""

    name: str
    column: str = ""
    severity: Literal["critical", "warning"]
    passed: bool
    applicable: bool = True
    """False where there was nothing to hold the data against (no champion yet): neither kept nor broken."""
    observed: str
    expected: str
    unexpected: int = Field(0, ge=0)
    """How many rows break it."""
    offenders: tuple[str, ...] = ()
    """The first of them by name."""

    @property
    def broken(self) -> bool:
        return self.applicable and not self.passed


class Suspicion(Record):
    """A photo whose picture looks more like another category's: a guess for a person to look at."""

    path: str
    category: str
    likely: str
    """The category that it looks like."""
    confidence: float = Field(ge=0.0, le=1.0)
    """The probability that `category` is wrong, by a model that has not seen the photo."""


class ValidationReport(Record):
    """What Great Expectations found."""

    passed: bool
    photos: int
    expectations: tuple[Expectation, ...]
    quarantined: tuple[BadPhoto, ...]
    suspicions: tuple[Suspicion, ...] = ()
    """Likeliest first; nothing is done to them."""
    suspected: int = Field(0, ge=0)
    """How many photos are suspected in all."""
    judged_on: date | None = None
    """The day (UTC) against which expiry was judged; None where no photo's rights expire."""
    valid_until: date | None = None
    """The last day on which every photo may be used."""
    champion: str = ""
    """The digest of the catalogue that drift was judged against; empty where there was none, or it is the same."""
    suite: Digest
    """Of all that was expected: the section 'validate' of params.yaml."""
    catalog: Digest


class SplitCount(Record):
    split: Literal["train", "val", "test"]
    photos: int
    counts: tuple[CategoryCount, ...]


class Condition(Record):
    """An attribute that models are conditioned on, beside the category."""

    name: AttributeName
    kind: Literal["label", "number"]
    values: tuple[str, ...] = ()
    """Of a label: its words in the training photos, sorted; a photo may have none of them (not known)."""
    mean: float = 0.0
    deviation: float = 1.0
    """Of a number: over the training photos that have one."""

    @property
    def size(self) -> int:
        """How many columns it takes: one for each word of a label; a number's z-score, and whether it is known."""
        return len(self.values) if self.kind == "label" else 2


class StoredFile(Record):
    """A file beside the record that names it; its name carries a part of its digest, so that no version overwrites another."""

    name: FileName
    size: int = Field(gt=0)
    """Bytes."""
    sha256: Digest


class Dataset(Record):
    """What prepare packed: <split>-pixels-*.npy (uint8, (N, C, H, W)), and <split>-index-*.parquet beside it."""

    image: ImageSpec
    categories: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    left_out: int = Field(0, ge=0)
    """Photos that no split could take without a leak or without moving an older photo."""
    splits: tuple[SplitCount, ...]
    files: tuple[StoredFile, ...] = ()
    """All that was packed; nothing else in the folder belongs to it."""
    recipe: str = ""
    """Of all that decides what a stored photo is packed to. Under another, nothing is reused."""
    catalog: Digest
    digest: Digest
    """Of the pixels, the categories, the conditions and the splits."""


# --- train, evaluate, gate ----------------------------------------------------------------------------------------------


class Checkpoint(Record):
    """Weights that were kept: one file of safetensors, which carries its own config."""

    run: Name
    family: str
    step: int = Field(ge=0)
    path: str
    """Below data/train/."""
    sha256: Digest
    training: Digest | None = Field(None, exclude_if=lambda training: training is None)
    """Of what only training needs, `<path without its suffix>.training.safetensors`; None where there is nothing of the kind."""

    @property
    def name(self) -> str:
        return f"{self.run}@{self.step}"


class Origin(Record):
    """The weights that a run started from."""

    version: int | None = Field(None, gt=0)
    """In the registry; None where they came from a file."""
    sha256: Digest
    training: Digest | None = None
    """Of what only training needs, where it was kept."""

    @property
    def name(self) -> str:
        return f"version {self.version}" if self.version else f"weights {self.sha256[:12]}"


class Started(Record):
    """Where one run started."""

    run: Name
    origin: Origin


class TrainReport(Record):
    """What train left behind. The same inputs give the same report."""

    dataset: Digest
    checkpoints: tuple[Checkpoint, ...]
    started: tuple[Started, ...] = ()
    """The runs that started from weights, and from which."""


class Tracked(Record):
    """Where one run was tracked."""

    run: Name
    mlflow_run: str
    experiment: str


class TrackedRuns(Record):
    """Which MLflow run belongs to which training: an output of train, since a restored stage runs no code."""

    runs: tuple[Tracked, ...]


class Estimate(Record):
    """A number, its two-sided 95 % interval and the count behind it. A withheld number is None, with the reason in `note`."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = Field(0, ge=0)
    note: str = ""


class Cost(Record):
    """What a model costs where it is served. No two runs measure the same time: this is kept apart from what must reproduce."""

    sha256: Digest
    """Of the weights."""
    size_mb: float = Field(gt=0)
    """Of the weights' file, in 10^6 bytes."""
    parameters: int = Field(gt=0)
    """Of the parts that are deployed."""
    latency_ms: Estimate
    """The median time of a draw for one picture alone, to bytes."""
    micro_batch: int = Field(gt=0)
    """Pictures that such a draw computes: one that is asked for, and what fills it up."""
    threads: int = Field(gt=0)
    processor: str
    """The CPU's model, or its architecture where the system does not tell the model."""


class Speed(Record):
    """What the checkpoints of an evaluation cost, by the clock of the machine that evaluated them."""

    costs: tuple[Cost, ...]


class Score(Record):
    """One metric of one checkpoint."""

    metric: str
    estimate: Estimate


def find_estimate(scores: Iterable[Score], metric: str) -> Estimate | None:
    """What `scores` say of a metric; None where they say nothing."""
    return next((score.estimate for score in scores if score.metric == metric), None)


class Slice(Record):
    """One category, or one value of an attribute, by itself."""

    name: str
    """'category mug', 'colour red'."""
    scores: tuple[Score, ...]
    over_champion: tuple[Score, ...] = ()
    """Challenger less champion, where there is one to compare with."""


class WorstPhoto(Record):
    """A held-out photo that came back badly."""

    id: str
    """The sha256 of its file."""
    category: str
    psnr: float
    ssim: float


class Scorecard(Record):
    """Everything measured about one checkpoint."""

    checkpoint: Checkpoint
    scores: tuple[Score, ...]
    reconstruction: Literal["encoded", "searched"] = "encoded"
    """How it draws a photo again: PSNR after a search through latents says how much it covers, not how well it draws."""
    over_champion: tuple[Score, ...] = Field((), exclude_if=lambda scores: not scores)
    """Challenger less champion, paired: on the same photos, from the same seeds."""
    slices: tuple[Slice, ...] = Field((), exclude_if=lambda slices: not slices)
    worst: tuple[WorstPhoto, ...] = Field((), exclude_if=lambda photos: not photos)
    """The ten photos that came back worst, the worst first."""

    def estimate(self, metric: str) -> Estimate | None:
        return find_estimate(self.scores, metric)


class Extractor(Record):
    """A network, or a projection, by whose features pictures are compared."""

    name: str
    sha256: Digest
    """Of all that its features depend on."""


class Standing(Record):
    """The champion, as it stood when an evaluation was made."""

    model: Name
    version: int = Field(gt=0)
    sha256: Digest
    family: str
    comparable: bool = True
    reason: str = ""
    """Why it cannot be compared, or what the comparison leaves out."""
    lacks: tuple[str, ...] = ()
    """Categories and attributes that it cannot be asked for: where there are some, a challenger need only not be worse."""


class Control(Record):
    """Pictures of which it is known what the gate must say, measured as a model's are: real photos, and planted frauds."""

    name: str
    must: Literal["pass", "fail"]
    scores: tuple[Score, ...]


class EvaluationReport(Record):
    """What evaluate measured: every checkpoint by the same protocol on the same evidence."""

    dataset: Digest
    evidence: Digest
    """Of the held-out photos, the seeds, the extractors and the protocol's settings: equal evidence, comparable scores."""
    extractors: tuple[Extractor, ...] = Field((), exclude_if=lambda extractors: not extractors)
    conditions: tuple[Condition, ...] = Field((), exclude_if=lambda conditions: not conditions)
    """What the models are conditioned on beside the category."""
    references: tuple[Score, ...]
    """Baselines and rungs of the ladder, measured in the same run."""
    controls: tuple[Control, ...] = Field((), exclude_if=lambda controls: not controls)
    champion: Standing | None = Field(None, exclude_if=lambda champion: champion is None)
    """None where nobody was champion."""
    champion_scores: tuple[Score, ...] = Field((), exclude_if=lambda scores: not scores)
    """The champion's own, by the same protocol on the same evidence."""
    scorecards: tuple[Scorecard, ...]


class Finding(Record):
    """One rule of the gate held against one estimate."""

    metric: str
    kind: Literal["bound", "leak", "champion", "slice"] = Field("bound", exclude_if=lambda kind: kind == "bound")
    """A bound on the model itself; an alarm; a comparison with the champion, as a whole or in one slice."""
    bound: str
    """In words and numbers, with the reference resolved: 'kid <= 1 x kid of a 1-px blur = 0.085'."""
    limit: float | None
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    state: Literal["pass", "reject", "inconclusive"]
    margin: float | None = None
    """By how much it holds (positive) or fails (negative)."""
    would_pass: str = ""

    @property
    def passed(self) -> bool:
        return self.state == "pass"


class Judgement(Record):
    """What the gate says of one checkpoint."""

    checkpoint: Checkpoint
    findings: tuple[Finding, ...]
    passed: bool
    reason: str
    """One sentence."""
    worst: tuple[WorstPhoto, ...] = Field((), exclude_if=lambda photos: not photos)
    """The ten photos that came back worst, the worst first."""


class ControlFinding(Record):
    """What the policy says of a control, which tells something about the policy and the evidence, and nothing about a model."""

    name: str
    must: Literal["pass", "fail"]
    state: Literal["pass", "reject", "inconclusive"]
    reason: str

    @property
    def behaves(self) -> bool:
        """Whether it passes where it must, and does not where it must not."""
        return (self.state == "pass") == (self.must == "pass")


class Verdict(Record):
    """What the gate says of a whole training: which checkpoint goes on, and why, or why none does."""

    passed: bool
    reason: str
    primary: str
    candidate: Checkpoint | None
    judgements: tuple[Judgement, ...]
    controls: tuple[ControlFinding, ...] = Field((), exclude_if=lambda controls: not controls)
    champion: Standing | None = Field(None, exclude_if=lambda champion: champion is None)
    """Who was champion when this was judged; a verdict says nothing of any other."""
    compared: bool = Field(default=False, exclude_if=lambda compared: not compared)
    """Whether all that the policy asks of a challenger could be compared with the champion."""
    dataset: Digest
    evidence: Digest
    extractors: tuple[Extractor, ...] = Field((), exclude_if=lambda extractors: not extractors)
    policy: Digest


# --- release, serving ---------------------------------------------------------------------------------------------------


class Version(Record):
    """One version of the registered model."""

    model: Name
    version: int = Field(gt=0)
    sha256: Digest
    """Of the weights."""
    checkpoint: str
    dataset: Digest
    passed: bool


class Live(Record):
    """What the running service must serve: written by promote and rollback, followed by the service."""

    epoch: int = Field(gt=0)
    """Rises by one with every promotion and rollback."""
    model: Name
    version: int = Field(gt=0)
    sha256: Digest
    weights: str
    """Absolute path of the weights in the shelf."""
    card: str
    """Absolute path of the ServiceCard beside them."""


class ServiceCard(Record):
    """What the service tells of the model it serves (GET /describe)."""

    model: Name
    version: int
    sha256: Digest
    family: str
    image: ImageSpec
    categories: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    """What a picture may be asked for beside its category."""
    dataset: Digest
    catalog: str = ""
    """The digest of the catalogue that the dataset was cut from (records.Catalog); empty where it was not noted."""
    data_version: str
    """DVC's md5 of the catalogue; empty where it is not under DVC."""
    git_commit: str
    run: str
    scores: tuple[Score, ...]
    beneath: str = Field("#ffffff", pattern=r"^#[0-9a-f]{6}$")
    """What lay beneath the transparency of the photos that it learnt from (ingest.background)."""
    beside: str = Field("#ffffff", pattern=r"^#[0-9a-f]{6}$")
    """What stood beside those that were not square (prepare.background)."""
