"""A project as the six stages leave it, small enough to release in a second."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from packshot.evaluation.review import ReleaseParams
from packshot.images.shards import Split, SplitName
from packshot.images.sheet import encode_png
from packshot.images.split import PrepareParams
from packshot.layout import Layout
from packshot.models import vae
from packshot.models.weights import WeightsCard, save_weights
from packshot.params import Params
from packshot.records import (
    Checkpoint,
    Estimate,
    EvaluationReport,
    Finding,
    ImageSpec,
    Judgement,
    Live,
    Score,
    Scorecard,
    Standing,
    TrackedRuns,
    ValidationReport,
    Verdict,
    write_bytes,
)
from packshot.sources import IngestParams
from packshot.sources.drift import Profile
from tests.evaluation.shapes import draw_shapes
from tests.stages.datasets import pack_dataset

CATEGORIES = ("lamp", "mug", "shirt")
CATALOG, DATASET, EVIDENCE, POLICY = "c" * 64, "d" * 64, "e" * 64, "a" * 64
PHOTOS = 40


@dataclass(frozen=True)
class Shop:
    """A project whose stages have run, without running them."""

    layout: Layout

    def params(self, review: str = "auto", approvals: int = 1) -> Params:
        release = ReleaseParams.model_validate({"review": review, "approvals": approvals})
        ingest, prepare = IngestParams.model_construct(), PrepareParams.model_construct()
        return Params.model_construct(ingest=ingest, prepare=prepare, release=release)

    def validate(self, valid_until: date | None = None) -> None:
        """Leave behind what validate and prepare do."""
        report = ValidationReport(
            passed=True,
            photos=PHOTOS,
            expectations=(),
            quarantined=(),
            valid_until=valid_until,
            suite=DATASET,
            catalog=CATALOG,
        )
        report.write(self.layout.stage("validate") / "report.json")
        Profile(catalog=CATALOG, photos=PHOTOS, columns=()).write(self.layout.stage("validate") / "profile.json")
        photos = replace(draw_shapes(12, side=16), categories=np.arange(12) % len(CATEGORIES))
        splits: dict[SplitName, Split] = {"train": photos}
        prepared = self.layout.stage("prepare")
        dataset = pack_dataset(prepared, splits, ImageSpec(size=16), CATEGORIES, digest=DATASET)
        dataset.model_copy(update={"catalog": CATALOG}).write(prepared / "dataset.json")

    def train(self, seed: int, *, psnr: float = 20.0, passed: bool = True, mlflow_run: str = "", broken: bool = False) -> Verdict:
        """Leave behind what train, evaluate and gate do, for weights that `seed` alone decides."""
        image = ImageSpec(size=16)
        config = vae.Config(latent=4, width=4, polish=None, prior=vae.GaussianPrior())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = config.build(image, CATEGORIES)
            if broken:
                for parameter in model.parameters():
                    parameter.data.zero_()
        card = WeightsCard(
            config=config, image=image, categories=CATEGORIES, run="vae-a", step=30, dataset=DATASET, params="b" * 64, seed=seed
        )
        train = self.layout.stage("train")
        sha256 = save_weights(train / "weights" / "vae-a-30.safetensors", model, card)
        tracked = ({"run": "vae-a", "mlflow_run": mlflow_run, "experiment": "packshot"},)
        TrackedRuns.model_validate({"runs": tracked}).write(train / "tracked.json")
        checkpoint = Checkpoint(run="vae-a", family="vae", step=30, path="weights/vae-a-30.safetensors", sha256=sha256)
        self._evaluate(checkpoint, seed, psnr)
        return self._gate(checkpoint, psnr, passed=passed)

    def _evaluate(self, checkpoint: Checkpoint, seed: int, psnr: float) -> None:
        folder, chances = self.layout.stage("evaluate"), np.random.default_rng(seed)
        scores = (
            Score(metric="psnr", estimate=Estimate(value=psnr, low=psnr - 0.5, high=psnr + 0.5, n=PHOTOS)),
            Score(metric="ssim", estimate=Estimate(value=0.6, low=0.55, high=0.65, n=PHOTOS)),
            Score(metric="coverage", estimate=Estimate(value=None, n=3, note="needs 64 pictures, there are 3")),
        )
        report = EvaluationReport(
            dataset=DATASET,
            evidence=EVIDENCE,
            references=(),
            champion=self.standing(),
            scorecards=(Scorecard(checkpoint=checkpoint, scores=scores),),
        )
        report.write(folder / "report.json")
        photos = {
            "checkpoint": [checkpoint.name] * PHOTOS,
            "id": [f"photo-{number}" for number in range(PHOTOS)],
            "group": [f"group-{number}" for number in range(PHOTOS)],
            "category": [CATEGORIES[number % 3] for number in range(PHOTOS)],
            "reconstruction": ["encoded"] * PHOTOS,
            "psnr": (psnr + chances.normal(0, 0.01, PHOTOS)).tolist(),
            "ssim": (0.6 + (psnr - 20) / 50 + chances.normal(0, 0.001, PHOTOS)).tolist(),
        }
        pq.write_table(pa.table(photos), folder / "photos.parquet")
        picture = np.random.default_rng(seed).integers(0, 255, (48, 96, 3), dtype=np.uint8)
        for name in ("vae-a-30-samples.png", "vae-a-30-reconstructions.png", "gan-a-30-samples.png"):
            write_bytes(folder / "pictures" / name, encode_png(picture))

    def standing(self) -> Standing | None:
        """The champion, as an evaluation made now would find it."""
        if not self.layout.live.is_file():
            return None
        live = Live.read(self.layout.live)
        return Standing(model=live.model, version=live.version, sha256=live.sha256, family="vae")

    def _gate(self, checkpoint: Checkpoint, psnr: float, *, passed: bool) -> Verdict:
        folder = self.layout.stage("gate")
        finding = Finding(
            metric="psnr",
            bound="psnr >= 18",
            limit=18,
            value=psnr,
            low=psnr - 0.5,
            high=psnr + 0.5,
            n=PHOTOS,
            state="pass" if passed else "reject",
            margin=psnr - 18,
        )
        findings = (finding,)
        if champion := self.standing():
            words = "psnr less the champion's > 0"
            gain = {"kind": "champion", "bound": words, "limit": 0.0, "value": 0.6, "low": 0.4, "high": 0.8}
            findings = (finding, finding.model_copy(update=gain))
        reason = f"psnr is {psnr:.1f} | it {'keeps' if passed else 'does not keep'} to psnr >= 18"
        other = checkpoint.model_copy(update={"run": "gan-a", "family": "gan", "sha256": "9" * 64})
        judgements = (
            Judgement(checkpoint=checkpoint, findings=findings, passed=passed, reason=reason),
            Judgement(checkpoint=other, findings=(), passed=False, reason="psnr was not measured"),
        )
        verdict = Verdict(
            passed=passed,
            reason=f"{checkpoint.name} passes: {reason}" if passed else f"no checkpoint passes: {reason}",
            primary="psnr",
            candidate=checkpoint if passed else None,
            judgements=judgements,
            champion=champion,
            compared=champion is not None,
            dataset=DATASET,
            evidence=EVIDENCE,
            policy=POLICY,
        )
        verdict.write(folder / "verdict.json")
        write_bytes(folder / "report.html", f"<p>{reason}</p>".encode())
        return verdict


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder under Git, with a commit."""
    root = tmp_path_factory.mktemp("repository")
    (root / "params.yaml").write_text("release: {review: auto}\n")
    author = ["-c", "user.name=packshot", "-c", "user.email=tests@packshot.invalid"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "Begin"]):
        subprocess.run(["git", *author, *words], cwd=root, check=True)
    return root


@pytest.fixture
def make_shop(tmp_path: Path, database: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Shop]:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "BENTOML_HOME", "PACKSHOT_VAR", "PACKSHOT_FAILPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")

    def make(name: str) -> Shop:
        layout = Layout(tmp_path / name)
        shutil.copytree(repository, layout.root)
        layout.mlflow_database.parent.mkdir(parents=True)
        shutil.copy(database, layout.mlflow_database)
        shop = Shop(layout)
        shop.validate()
        return shop

    return make


@pytest.fixture
def shop(make_shop: Callable[[str], Shop]) -> Shop:
    return make_shop("shop")
