"""params.yaml: read once, and every mistake in it told in words that help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from packshot.errors import ParamsError
from packshot.models import AnyModel, vae
from packshot.models.config import ModelConfig, PresetName
from packshot.params import load_params
from packshot.records import ImageSpec
from packshot.training.params import Run, TrainParams

GOOD = Path(__file__).with_name("params.yaml")
FAMILIES: dict[str, type[ModelConfig]] = {
    member.model_fields["family"].default: member for member in get_args(get_args(AnyModel)[0])
}


def fault(tmp_path: Path, before: str, after: str) -> str:
    path = tmp_path / "params.yaml"
    text = GOOD.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_right_file_is_read_and_its_digest_is_stable(tmp_path: Path) -> None:
    other = tmp_path / "params.yaml"
    other.write_text("# another comment\n" + GOOD.read_text().replace("batch_size: 16", "batch_size:   16"))
    assert load_params(GOOD) == load_params(other)
    assert load_params(GOOD).content_digest() == load_params(other).content_digest()


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            "latent: 8, width: 4, prior",
            "latnt: 8, width: 4, prior",
            "train.runs.0.model.vae.latnt: no such field; there are family, latent",
        ),
        ("  steps: 60", "  stepps: 60", "train.stepps: no such field; there are steps, batch_size"),
        ("  steps: 60", "  steps: soon", "train.steps: Input should be a valid integer"),
        ("  steps: 60", "  steps: -1", "train.steps: Input should be greater than or equal to 1"),
        ("family: gan", "family: gun", "train.runs.1.model.family: no such one as gun; there are vae, gan"),
        ("kind: catalog, ", "", "ingest.source.kind: is missing"),
        (
            "kind: catalog",
            "kind: ftp",
            "ingest.source.kind: no such one as ftp; there are catalog, folder, table, archive, torchvision, synthetic",
        ),
        (
            "kind: catalog, path: data/catalog",
            "kind: table, path: data/import, category: kind",
            "ingest.source.table.image: is missing",
        ),
        (
            "kind: catalog, path: data/catalog",
            "kind: torchvision, name: MNST, path: data/import",
            "ingest.source.torchvision.name: Input should be 'MNIST', 'FashionMNIST'",
        ),
        (
            "kind: catalog, path: data/catalog",
            "kind: archive, file: data/import.zip",
            "ingest.source.archive.file: no such field; there are kind, path, below",
        ),
        ("duplicate_radius: 0", "duplicate_radius: 0\n  attributes: {Colour: label}", "ingest.attributes.Colour"),
        (
            "duplicate_radius: 0",
            "duplicate_radius: 0\n  attributes: {colour: word}",
            "'label', 'number', 'text', 'date' or 'flag'",
        ),
        (
            "duplicate_radius: 0",
            "duplicate_radius: 0\n  attributes: {sku: label, licence: text}",
            "ingest: attributes cannot be called licence, sku: the manifest has columns of these names",
        ),
        ("size: 16", "size: 17", "prepare.image.size: 17 is not a power of two"),
        ("size: 16", "size: 1024", "less than prepare.image.size, 1024: photos would be enlarged"),
        ("seed: 3", "sead: 3", "sead: no such field; there are seed, ingest, validate, prepare"),
        ("metric: psnr", "metric: prettiness", "no metric is called prettiness; there are psnr, ssim"),
        ("seed: 3", "seed: 3\nseed: 4", "the key 'seed' stands here twice"),
        ("seed: 3", "seed: [3", "not YAML"),
        (
            "length: 0.5",
            "preset: gpu-512",
            "train.runs.1.preset: Input should be 'cpu-demo', 'gpu-128' or 'gpu-256'",
        ),
        ("length: 0.5", "preset: gpu-128", "train.runs.1.preset: gpu-128 is for pictures of 128 px, prepare.image.size is 16"),
        (
            "length: 0.5",
            "init_from: champoin",
            "train.runs.1.init_from: write champion, the number of a registered version, or {weights: PATH}",
        ),
        ("length: 0.5", "init_from: 0", "train.runs.1.init_from.version: Input should be greater than or equal to 1"),
        (
            "length: 0.5",
            "init_from: {weight: a.safetensors}",
            "init_from.file.weight: no such field; there are weights",
        ),
        (
            "length: 0.5",
            "freeze: [critic.*]",
            "train.runs.1: what is frozen stays as it starts",
        ),
        (
            "checkpoints: 1",
            "checkpoints: 1\n  dev: {metric: prettiness}",
            "train.dev.metric: no metric is called prettiness",
        ),
        ("checkpoints: 1", "checkpoints: 1\n  dev: {patiance: 3}", "train.dev.patiance: no such field; there are metric, every"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_is_possible(tmp_path: Path, before: str, after: str, told: str) -> None:
    assert told in fault(tmp_path, before, after)


def test_a_list_that_holds_a_mistake_is_not_called_too_short_as_well(tmp_path: Path) -> None:
    assert "at least" not in fault(tmp_path, "length: 0.5", "preset: gpu-512")
    empty = "runs: []\n\nevaluate:\n"
    text = GOOD.read_text()
    path = tmp_path / "params.yaml"
    path.write_text(text[: text.index("runs:")] + empty + text.split("evaluate:\n", 1)[1])
    with pytest.raises(ParamsError, match=r"train\.runs: .*at least 1"):
        load_params(path)


def _preset(tmp_path: Path, run: str) -> Run:
    """The second run of the tests' params for pictures of 32 px, in place of what is written there."""
    path = tmp_path / "params.yaml"
    text = GOOD.read_text().replace("size: 16", "size: 32")
    written = "length: 0.5\n      model: {family: gan, latent: 8, width: 4, search: {steps: 5, restarts: 1, candidates: 8}}"
    assert written in text
    path.write_text(text.replace(written, run))
    return load_params(path).train.runs[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_preset_fills_in_what_is_not_written(family: str, tmp_path: Path) -> None:
    preset = FAMILIES[family].presets()["cpu-demo"]
    run = _preset(tmp_path, f"preset: cpu-demo\n      model: {{family: {family}}}")
    assert (run.preset, run.model, run.batch_size, run.steps) == ("cpu-demo", preset.model, preset.batch_size, preset.steps)
    own = _preset(tmp_path, f"preset: cpu-demo\n      steps: 7\n      model: {{family: {family}, learning_rate: 0.125}}")
    assert (own.steps, own.batch_size) == (7, preset.batch_size)
    assert own.model == preset.model.model_copy(update={"learning_rate": 0.125})


def test_what_a_run_writes_goes_before_its_preset_at_any_depth(tmp_path: Path) -> None:
    flow = _preset(tmp_path, "preset: cpu-demo\n      model: {family: vae, polish: null, prior: {kind: flow, guidance: 2}}")
    assert isinstance(flow.model, vae.Config)
    assert (flow.model.polish, flow.model.prior) == (None, vae.FlowPrior(guidance=2))
    other = _preset(tmp_path, "preset: cpu-demo\n      model: {family: vae, prior: {kind: class_gaussians}}")
    assert isinstance(other.model, vae.Config)
    assert other.model.prior == vae.GaussianPrior()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_every_preset_and_each_is_learnable(family: str) -> None:
    presets = FAMILIES[family].presets()
    assert tuple(presets) == get_args(PresetName)
    for name, preset in presets.items():
        runs = ({"name": "a", "preset": name, "model": {"family": family}},)
        (run,) = TrainParams.model_validate_json(json.dumps({"steps": 3, "runs": runs})).runs
        assert run.model == preset.model
        assert TrainParams.model_validate_json(TrainParams(steps=3, runs=(run,)).model_dump_json()).runs == (run,)
        for size in preset.sizes:
            assert run.model.refuse(ImageSpec(size=size), 10) == ""


def test_numbers_may_be_written_as_people_write_them(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(GOOD.read_text().replace("max_duplicate_share: 0.5", "max_duplicate_share: 5e-1"))
    assert load_params(path).validate_.max_duplicate_share == 0.5


@pytest.mark.parametrize(
    "content", [b"", b"just words", b"\xff\xfe", b"- a list", b"a: \x01", b"[" * 3000, b"seed: " + b"9" * 5000, b"a: 2020-13-45"]
)
def test_what_is_no_params_file_is_said_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(ParamsError):
        load_params(path)
