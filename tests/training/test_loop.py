"""The loop: determinism, what it tells, what it refuses, and that it learns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from packshot.errors import TrainingFailed, UsageError
from packshot.models.base import Batch, Loss
from packshot.models.gan.model import GAN
from packshot.training.hardware import Machine, choose_device
from packshot.training.loop import build, train
from packshot.training.params import Run, TrainParams, WatchParams
from packshot.training.progress import curves_csv
from tests.models.families import CATEGORIES, CONDITIONS, IMAGE, SMALL, toy_pixels
from tests.training.runs import CPU, SEED, Heard, desk, params, photos, run_through


@pytest.mark.parametrize("name", SMALL)
def test_the_same_seed_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    first = run_through(tmp_path / "a", params(name, steps=20))
    torch.rand(100)  # whatever the process did before
    second = run_through(tmp_path / "b", params(name, steps=20))
    assert all(torch.equal(tensor, second.tensors()[key]) for key, tensor in first.tensors().items())
    assert first.facts() == second.facts()


def test_a_training_leaves_the_callers_chances_and_threads_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(5)
    run_through(tmp_path, params("gan", steps=3))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("name", SMALL)
def test_it_tells_its_losses_and_shows_the_same_latents(name: str, tmp_path: Path) -> None:
    heard = Heard()
    state = run_through(tmp_path, params(name), heard)
    steps = {step for _, step in heard.values}
    assert steps == {7, 14, 21, 28, 35, 40}
    assert {(row.step, key): value for row in state.history for key, value in row.values.items()} == {
        (step, key): value for (key, step), value in heard.values.items()
    }
    shown = [step for _, step in heard.pictures]
    assert shown == ([40] if name in {"vae-flow", "vae-grid"} else [20, 40])
    assert len({picture.shape for picture in heard.pictures.values()}) == 1


def test_the_parts_of_a_vae_follow_each_other(tmp_path: Path) -> None:
    heard = Heard()
    run_through(tmp_path, params("vae-flow", steps=310, report_every=1, checkpoints=3), heard)
    steps = {name: [step for key, step in heard.values if key == name] for name, _ in heard.values}
    # 141, 50 and 120 shares of 311; the critic's penalty falls on every fourth step of its own span.
    assert (steps["autoencoder/kl"][0], steps["autoencoder/kl"][-1]) == (1, 141)
    assert (steps["polish/reconstruction"][0], steps["polish/reconstruction"][-1]) == (142, 190)
    assert steps["penalty/r1"] == list(range(142, 191, 4))
    assert (steps["flow/velocity"][0], steps["flow/velocity"][-1]) == (191, 310)
    assert sorted(int(path.stem.rpartition("-")[2]) for path in tmp_path.glob("weights/*")) == [230, 270, 310]


def test_the_default_shares_are_those_of_the_recipe() -> None:
    run = Run.model_validate({"name": "vae", "model": {"family": "vae"}})
    model = build(run, IMAGE, CATEGORIES, (), seed=0, device=CPU)
    stops = {phase.name: round(phase.stop * 3110) for phase in model.phases()}
    assert stops == {"autoencoder": 1410, "critic": 1910, "penalty": 1910, "polish": 1910, "flow": 3110}


def test_train_steps_scales_every_run() -> None:
    runs = (Run(name="a", model=SMALL["gan"]), Run(name="b", model=SMALL["gan"], length=0.75))
    for steps, expected in ((1000, (1000, 750)), (60, (60, 45)), (1, (1, 1))):
        settings = TrainParams(steps=steps, runs=runs)
        assert tuple(settings.steps_of(run) for run in runs) == expected


@pytest.mark.parametrize("name", SMALL)
def test_a_run_of_one_step_still_leaves_weights(name: str, tmp_path: Path) -> None:
    run_through(tmp_path, params(name, steps=1))
    assert [path.name for path in tmp_path.glob("weights/*")] == [f"{name}-1.safetensors"]


def test_two_runs_of_one_name_are_refused() -> None:
    run = Run(name="a", model=SMALL["gan"])
    with pytest.raises(ValidationError, match="two runs have one name: a"):
        TrainParams(steps=3, runs=(run, run))
    with pytest.raises(ValidationError):
        TrainParams(steps=3, runs=())


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no GPU"):
        choose_device("cuda")
    assert choose_device("auto") == choose_device("cpu") == CPU


class _Poisoned(GAN):
    """Its generator's loss turns into NaN at a step, or its gradient alone does."""

    poison, turns = "loss", 0

    def generator_loss(self, batch: Batch) -> Loss:
        terms = dict(super().generator_loss(batch).terms)
        self.turns += 1
        if self.turns == 5:
            if self.poison == "loss":
                terms["relativistic"] = terms["relativistic"] * float("nan")
            else:
                weight = self.generator.category.weight
                terms["spike"] = (weight - weight.detach()).abs().sqrt().sum()  # 0, with a slope that is no number
        return Loss(terms)


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_a_training_that_is_not_finite_stops_before_a_weight_is_touched(poison: str, tmp_path: Path) -> None:
    settings = params("gan", watch=WatchParams(retries=0))
    keeper = desk(tmp_path, settings)
    torch.manual_seed(0)
    model = _Poisoned(SMALL["gan"], IMAGE, CATEGORIES)  # type: ignore[arg-type]
    model.poison = poison
    with pytest.raises(TrainingFailed, match="not finite") as failed:
        train(
            model, photos(), settings.runs[0], settings, seed=SEED, machine=Machine.choose(settings), log=Heard(), keeper=keeper
        )
    assert failed.value.exit_code == 11
    assert failed.value.where == "gan, step 4, phase 'generator'"
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    evidence = json.loads((tmp_path / "failure.json").read_text())
    assert (evidence["step"], evidence["phase"], len(evidence["rows"])) == (4, "generator", 16)
    assert "nan" in evidence["values"].values()
    assert evidence["reason"] == "NOT_FINITE"
    assert (tmp_path / "failure.csv").read_text().startswith("step")
    assert not list(tmp_path.glob("weights/*"))


def test_the_curves_have_a_column_a_loss(tmp_path: Path) -> None:
    state = run_through(tmp_path, params("vae-flow"))
    header, *rows = [line.split(",") for line in curves_csv(state.history).splitlines()]
    assert header[:4] == ["step", "autoencoder/reconstruction", "autoencoder/kl", "autoencoder/active_units"]
    assert header[-2:] == ["flow/velocity", "flow/gradient_norm"]
    assert [int(row[0]) for row in rows] == [7, 14, 21, 28, 35, 40]
    assert {len(row) for row in rows} == {len(header)}
    assert rows[0][-1] == ""
    assert rows[-1][1] == ""


def _category_colours(images: Tensor) -> Tensor:
    """The mean colour of the middle of each picture, 0 to 1."""
    return (images[:, :, 6:10, 6:10].mean(dim=(2, 3)) + 1) / 2


@pytest.mark.parametrize(("name", "steps"), [("vae-flow", 700), ("vae-gaussians", 300), ("vae-grid", 400), ("gan", 400)])
def test_every_family_learns_the_colours_of_the_categories(name: str, steps: int, tmp_path: Path) -> None:
    settings = params(name, steps=steps, report_every=20, picture_every=1000, checkpoints=1, save_every=1000)
    heard = Heard()
    state = run_through(tmp_path, settings, heard)
    drawn = state.average.sample(torch.arange(3).repeat(20), range(60))
    assert float(drawn.reshape(20, 3, -1).std(dim=0).mean()) > 0.05, "one picture for every latent"
    colours = _category_colours(drawn)
    colours = colours.reshape(20, 3, 3).mean(dim=0)
    # A hat is red, a mug green, a shoe blue: the diagonal is bright, the rest is dark.
    assert bool((colours.diagonal()[:, None] > colours + 0.3)[~torch.eye(3, dtype=torch.bool)].all()), colours
    if state.average.encodes:
        losses = [value for (key, _), value in heard.values.items() if key == "autoencoder/reconstruction"]
        assert losses[-1] < losses[0] - 0.3
        pixels, categories = toy_pixels(30, seed=99)
        images = pixels.float() / 127.5 - 1
        again = state.average.reconstruct(images, categories)
        blank = images.mean(dim=0, keepdim=True)
        assert float((again - images).square().mean()) < 0.5 * float((blank - images).square().mean())


@pytest.mark.parametrize(("name", "steps"), [("vae-flow", 700), ("vae-gaussians", 300)])
def test_a_model_learns_to_draw_what_it_is_asked_for_beside_the_category(name: str, steps: int, tmp_path: Path) -> None:
    settings = params(name, steps=steps, report_every=100, picture_every=1000, checkpoints=1, save_every=1000)
    model = run_through(tmp_path, settings, conditions=CONDITIONS).average
    categories = torch.arange(3).repeat(20)
    dark, light = (torch.eye(4)[[column]].expand(60, -1) for column in (0, 1))
    bright = [float(_category_colours(model.sample(categories, range(60), told)).mean()) for told in (dark, None, light)]
    assert bright[0] + 0.05 < bright[1] < bright[2] - 0.05, "dark, as it comes, light"
