"""Where a run of the stage train starts: a champion, a registered version, a file; and what measures it while it trains."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from packshot.adapters.registry import Registry
from packshot.adapters.tracking import Tracking
from packshot.errors import IntegrityError, MissingArtifact, Unavailable, UsageError
from packshot.images.shards import Split
from packshot.layout import Layout
from packshot.models.weights import load_weights, read_card, training_path
from packshot.params import Params, load_params
from packshot.records import Live, Origin, TrackedRuns, TrainReport
from packshot.release.promote import promote
from packshot.release.register import register
from packshot.release.review import review
from packshot.stages.start import note_start, tidy_starts
from packshot.stages.train import train
from packshot.training.params import DevParams, Run, WeightsFile
from packshot.training.transfer import Start
from tests.models.families import CATEGORIES, IMAGE, toy_split
from tests.release.conftest import CATALOG, DATASET, Shop, make_shop, repository
from tests.stages.datasets import pack_dataset

__all__ = ["make_shop", "repository"]
MORE = ("bag", *CATEGORIES)
LATER = "f" * 64
NOWHERE = "http://127.0.0.1:9"
PARAMS = load_params(Path(__file__).parents[1] / "params.yaml")


def params(steps: int = 60, dev: DevParams | None = None, **settings: object) -> Params:
    """One run, a VAE whose decoder is polished: it has an encoder, a prior and a critic."""
    run = Run.model_validate({"name": "vae", "model": PARAMS.train.runs[0].model, **settings})
    return PARAMS.model_copy(update={"train": PARAMS.train.model_copy(update={"runs": (run,), "steps": steps, "dev": dev})})


def pack(layout: Layout, categories: tuple[str, ...], digest: str, val: int = 0) -> None:
    """A catalogue of toy photos; `bag`, where it is among the categories, has those of a hat, upside down."""
    split = toy_split(60)
    if "bag" in categories:
        bags = np.flatnonzero(split.categories == 0)[:12]
        more = np.concatenate([np.array(split.images), np.ascontiguousarray(split.images[bags][:, :, ::-1])])
        names = (*split.ids, *(f"{900 + row:064x}" for row in range(len(bags))))
        kinds = np.concatenate([split.categories + 1, np.zeros(len(bags), dtype=np.int64)])
        told = np.concatenate([split.conditions, split.conditions[bags]])
        split = Split(more, kinds, names, names, told)
    splits = {"train": split} | ({"val": toy_split(val)} if val else {})
    dataset = pack_dataset(layout.stage("prepare"), splits, IMAGE, categories, digest=digest)  # type: ignore[arg-type]
    dataset.model_copy(update={"catalog": CATALOG}).write(layout.stage("prepare") / "dataset.json")


def first_loss(layout: Layout) -> float:
    with (layout.stage("train") / "curves" / "vae.csv").open() as file:
        return float(next(csv.DictReader(file))["autoencoder/reconstruction"])


@pytest.fixture
def champion(make_shop: Callable[[str], Shop]) -> Layout:
    """A shop whose champion was trained on three categories, and whose catalogue has four by now."""
    shop = make_shop("shop")
    layout = shop.layout
    pack(layout, CATEGORIES, DATASET)
    checkpoint = train(params(), layout).checkpoints[0]
    shop._evaluate(checkpoint, 1, 20.0)
    shop._gate(checkpoint, 20.0, passed=True)
    assert register(PARAMS, layout).version == 1
    review(PARAMS, layout, by="ada")
    promote(PARAMS, layout, by="ada")
    pack(layout, MORE, LATER)
    return layout


def test_a_run_starts_from_the_champion_or_a_version_on_a_larger_catalogue(champion: Layout, tmp_path: Path) -> None:
    registry = Registry(champion, "packshot")
    held = registry.version(1)
    assert (registry.fetch(held, tmp_path) / "training.safetensors").is_file()
    served = Path(Live.read(champion.live).weights).parent
    assert [path.name for path in served.rglob("*.safetensors")] == ["weights.safetensors"], "a critic is never served"
    train(params(steps=20), champion)
    scratch = first_loss(champion)
    losses = []
    for init_from in ("champion", 1):
        report = train(params(steps=20, init_from=init_from), champion)
        (started,) = report.started
        assert (started.run, started.origin.version, started.origin.sha256) == ("vae", 1, held.version.sha256)
        assert started.origin.training, "the critic was registered with it"
        card = read_card(champion.stage("train") / report.checkpoints[0].path)
        assert (card.start, card.categories) == (started.origin, MORE)
        losses.append(first_loss(champion))
    assert losses[0] == losses[1] < scratch - 0.1
    run = TrackedRuns.read(champion.stage("train") / "tracked.json").runs[0].mlflow_run
    tags = Tracking.open(champion).connect().get_run(run).data.tags
    assert (tags["started_from"], tags["started_from_sha256"]) == ("version 1", held.version.sha256)
    assert TrainReport.read(champion.stage("train") / "report.json").started[0].origin.version == 1


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_killed_run_goes_on_from_the_champion_that_it_began_with(
    champion: Layout, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("packshot.stages.train.Checkpoints.publish", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(params(steps=20, init_from="champion"), champion)
    live = Live.read(champion.live)
    live.model_copy(update={"version": 2, "epoch": 2, "sha256": "9" * 64}).write(champion.live)
    caplog.set_level("INFO")
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
        report = train(params(steps=20, init_from="champion"), champion)
    assert report.started[0].origin.version == 1
    assert "vae goes on from step 20" in caplog.text

    # Where there is nothing to start from, nothing is trained.
    with pytest.raises(UsageError, match="packshot has no version 2"):
        train(params(steps=20, init_from="champion"), champion)
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
        with pytest.raises(Unavailable):
            train(params(init_from=1), champion)
    champion.live.unlink()
    with pytest.raises(UsageError, match="there is no champion to start from"):
        train(params(init_from="champion"), champion)
    with pytest.raises(MissingArtifact, match="there are no such weights"):
        train(params(init_from=WeightsFile(weights="lost.safetensors")), champion)


def test_a_run_starts_from_a_file_and_what_stands_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    layout = Layout(tmp_path)
    pack(layout, CATEGORIES, DATASET)
    checkpoint = train(params(steps=20), layout).checkpoints[0]
    weights = layout.stage("train") / checkpoint.path
    (tmp_path / "kept").mkdir()
    for path in (weights, training_path(weights)):
        path.rename(tmp_path / "kept" / path.name)
    start = WeightsFile(weights=f"kept/{weights.name}")
    report = train(params(steps=20, init_from=start, freeze=("encoder.*",)), layout)
    origin = report.started[0].origin
    assert (origin.version, origin.sha256, origin.training) == (None, checkpoint.sha256, checkpoint.training)
    before, after = (load_weights(path)[0].state_dict() for path in (tmp_path / "kept" / weights.name, weights))
    assert all((before[name] == tensor).all() for name, tensor in after.items() if name.startswith("encoder."))
    assert not all((before[name] == tensor).all() for name, tensor in after.items() if name.startswith("decoder."))


def test_what_another_training_started_from_is_kept_until_it_is_over(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.starts.mkdir(parents=True)
    theirs, old = (layout.starts / f"{digit * 64}.safetensors" for digit in "12")
    for path in (theirs, old):
        path.write_bytes(b"weights")
    note_start(layout.resume / "vae-0123456789ab", Start(Origin(version=1, sha256="1" * 64, training=None), theirs))
    tidy_starts(layout, ())
    assert (theirs.exists(), old.exists()) == (True, False)
    shutil.rmtree(layout.resume)
    tidy_starts(layout, ())
    assert not theirs.exists()


def test_weights_that_cannot_be_started_from_are_named_before_anything_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    layout = Layout(tmp_path)
    pack(layout, CATEGORIES, DATASET)
    weights = layout.stage("train") / train(params(steps=3), layout).checkpoints[0].path
    (tmp_path / "kept").mkdir()
    kept = tmp_path / "kept" / weights.name
    kept.write_bytes(weights.read_bytes())
    older = kept.read_bytes().replace(b"width", b"girth", 1)
    (tmp_path / "kept" / "older.safetensors").write_bytes(older)
    training_path(kept).write_bytes(training_path(weights).read_bytes())
    (tmp_path / "kept" / "photo.jpg").write_bytes(b"no weights at all")

    def refused(start: str, freeze: tuple[str, ...] = (), freeze_critic: int = 0) -> str:
        with pytest.raises((UsageError, IntegrityError)) as caught:
            train(params(steps=3, init_from=WeightsFile(weights=start), freeze=freeze, freeze_critic=freeze_critic), layout)
        return str(caught.value)

    assert "takes away what stands in" in refused(f"data/train/{weights.parent.name}/{weights.name}")
    assert "kept/photo.jpg: train them again" in refused("kept/photo.jpg")
    told = refused("kept/older.safetensors")
    assert "its card is off: config.vae." in told
    assert "kept/older.safetensors" in told
    assert "no parameter is called nothing.*" in refused(f"kept/{weights.name}", freeze=("nothing.*",))
    assert "not 9 to keep" in refused(f"kept/{weights.name}", freeze_critic=9)
    assert weights.is_file(), "what was trained before is still there"


def test_a_run_is_measured_on_the_dev_split_and_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    layout = Layout(tmp_path)
    pack(layout, CATEGORIES, DATASET, val=60)
    dev = DevParams(metric="kid", every=0.2, samples=60, patience=1, minimum=0.2)
    report = train(params(steps=20, dev=dev, length=3.0), layout)
    steps = [checkpoint.step for checkpoint in report.checkpoints]
    with (layout.stage("train") / "curves" / "vae.csv").open() as file:
        scored = [int(row["step"]) for row in csv.DictReader(file) if row["dev/kid"]]
    assert scored == list(range(12, steps[-1] + 1, 12))
    assert steps[-1] <= 60
    assert set(steps) <= set(scored)
    few = Layout(tmp_path / "few")
    pack(few, CATEGORIES, DATASET, val=12)
    with pytest.raises(UsageError, match="the split 'val' has 12 photos"):
        train(params(dev=dev), few)
