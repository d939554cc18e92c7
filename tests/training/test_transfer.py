"""Starting from weights, on the same catalogue or another one, and keeping parts of them as they are."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from packshot.errors import IntegrityError, UsageError
from packshot.images.conditions import encode_conditions
from packshot.models import AnyModel, vae
from packshot.models.base import ImageModel
from packshot.models.blocks import ConditionEmbedding
from packshot.models.vocabulary import Vocabulary
from packshot.models.weights import WeightsCard, save_training, save_weights
from packshot.records import Condition, ImageSpec, Origin
from packshot.training.loop import build
from packshot.training.params import Run, TrainParams
from packshot.training.state import TrainState, learning_phases
from packshot.training.transfer import Start, carry_over, freeze
from tests.children import forkserver
from tests.models.families import CATEGORIES, CONDITIONS, IMAGE, SMALL
from tests.training.kills import Trial, digest, killed, run_child
from tests.training.runs import CPU, Heard, params, run_through

MORE = ("bag", "hat", "mug", "shoe")
"""The catalogue of the tests, and one more category, which comes first."""


def keep_start(
    folder: Path,
    name: str,
    conditions: tuple[Condition, ...] = (),
    categories: tuple[str, ...] = CATEGORIES,
    state: TrainState | None = None,
    *,
    critic: bool = True,
) -> Start:
    """What a training leaves: of `state`, or of weights that are random, but not those that a run begins with."""
    torch.manual_seed(77)
    model = state.model if state else SMALL[name].build(IMAGE, categories, conditions)
    card = WeightsCard(
        config=SMALL[name],
        image=IMAGE,
        categories=categories,
        conditions=conditions,
        run=name,
        step=9,
        dataset="c" * 64,
        params="b" * 64,
        seed=1,
    )
    sha256 = save_weights(folder / f"{name}.safetensors", state.average if state else model, card)
    training = save_training(folder / f"{name}.training.safetensors", model, card) if critic else None
    beside = folder / f"{name}.training.safetensors" if training else None
    return Start(Origin(version=3, sha256=sha256, training=training), folder / f"{name}.safetensors", beside)


def run_of(name: str, model: AnyModel | None = None, freeze: tuple[str, ...] = (), freeze_critic: int = 0) -> Run:
    return Run(name="again", model=model or SMALL[name], init_from=3, freeze=freeze, freeze_critic=freeze_critic)


def begin(start: Start, run: Run, categories: tuple[str, ...] = CATEGORIES, conditions: tuple[Condition, ...] = ()) -> ImageModel:
    return build(run, IMAGE, categories, conditions, seed=5, device=CPU, start=start)


# --- words


def test_a_vocabulary_knows_what_has_the_same_name_wherever_it_stands() -> None:
    found = Vocabulary.match((("hat", "mug"), ()), (("mug", "bag", "hat"), ()))
    assert found.unknown == ("bag",)
    table = torch.tensor([[1.0, 2.0], [5.0, 10.0], [7.0, 7.0]])
    carried = found.carry_rows(table)
    assert carried.tolist() == [[5.0, 10.0], [3.0, 6.0], [1.0, 2.0], [7.0, 7.0]], "the row of nothing in particular stays last"


def test_a_word_that_is_new_begins_as_the_mean_of_those_known_and_a_new_attribute_says_nothing() -> None:
    shade = Condition(name="shade", kind="label", values=("dark", "light"))
    wider = Condition(name="shade", kind="label", values=("bright", "dark", "light"))
    fabric = Condition(name="fabric", kind="label", values=("silk", "wool"))
    found = Vocabulary.match((("hat",), (shade,)), (("hat",), (fabric, wider)))
    assert found.unknown == ("fabric", "shade bright")
    weight = torch.tensor([[2.0, 8.0]])
    assert found.carry_columns(weight).tolist() == [[0.0, 0.0, 5.0, 2.0, 8.0]]


def test_an_attribute_of_another_kind_is_another_attribute() -> None:
    number, label = Condition(name="size", kind="number"), Condition(name="size", kind="label", values=("l", "s"))
    found = Vocabulary.match((("hat",), (number,)), (("hat",), (label,)))
    assert found.unknown == ("size",)
    assert not found.columns.any()


@given(
    st.floats(-50, 50),
    st.tuples(st.floats(-20, 20), st.floats(0.5, 20)),
    st.tuples(st.floats(-20, 20), st.floats(0.5, 20)),
)
def test_a_number_means_the_same_under_other_moments(
    value: float, before: tuple[float, float], after: tuple[float, float]
) -> None:
    """What the model makes of a price does not change where the catalogue's mean price does."""
    known = Condition(name="price", kind="number", mean=before[0], deviation=before[1])
    wanted = Condition(name="price", kind="number", mean=after[0], deviation=after[1])
    told = [encode_conditions((one,), {"price": [value, None]}, 2).astype(np.float64) for one in (known, wanted)]
    if np.abs(np.stack(told)).max() >= 5:
        return  # so far from the mean, numbers count as less far
    weight = torch.tensor([[1.7, -0.4]], dtype=torch.float64)
    carried = Vocabulary.match((("hat",), (known,)), (("hat",), (wanted,))).carry_columns(weight)
    np.testing.assert_allclose(carried.numpy() @ told[1].T, weight.numpy() @ told[0].T, atol=1e-4)


# --- starting


@pytest.mark.parametrize("conditions", [(), CONDITIONS], ids=["plain", "attributes"])
@pytest.mark.parametrize("name", SMALL)
def test_on_the_same_catalogue_every_weight_is_taken_over(name: str, conditions: tuple[Condition, ...], tmp_path: Path) -> None:
    start = keep_start(tmp_path, name, conditions)
    torch.manual_seed(77)
    before = SMALL[name].build(IMAGE, CATEGORIES, conditions).state_dict()
    after = begin(start, run_of(name), conditions=conditions).state_dict()
    assert before.keys() == after.keys()
    assert [key for key, tensor in before.items() if not torch.equal(tensor, after[key])] == []


@pytest.mark.parametrize("name", SMALL)
def test_a_new_category_begins_as_the_mean_and_the_others_stay_as_they_are(name: str, tmp_path: Path) -> None:
    start = keep_start(tmp_path, name, CONDITIONS)
    held = begin(start, run_of(name), conditions=CONDITIONS)
    model = begin(start, run_of(name), MORE, CONDITIONS)
    tables = {place: table for place, table in model.named_modules() if isinstance(table, ConditionEmbedding)}
    for place, table in tables.items():
        before = held.get_submodule(place).weight[: len(CATEGORIES)]  # type: ignore[index]
        assert torch.equal(table.weight[1:4], before)
        torch.testing.assert_close(table.weight[0], before.mean(dim=0))
    others = [key for key, _ in model.named_parameters() if key.rpartition(".")[0] not in tables]
    others = [key for key in others if not key.startswith("perception.")]  # it tells categories apart, and learns to anew
    mine, theirs = model.state_dict(), held.state_dict()
    assert others
    assert [key for key in others if not torch.equal(mine[key], theirs[key])] == []


@pytest.mark.parametrize("name", ["vae-flow", "gan", "stylegan2"])
def test_categories_that_are_known_are_drawn_as_before(name: str, tmp_path: Path) -> None:
    start = keep_start(tmp_path, name)
    held, model = begin(start, run_of(name)).eval(), begin(start, run_of(name), MORE).eval()
    asked, seeds = torch.tensor([0, 1, 2]), [4, 5, 6]
    torch.testing.assert_close(model.sample(asked + 1, seeds), held.sample(asked, seeds))


def test_without_its_critic_a_new_one_begins_and_the_log_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    start = keep_start(tmp_path, "gan", critic=False)
    fresh = build(Run(name="again", model=SMALL["gan"]), IMAGE, CATEGORIES, (), seed=5, device=CPU)
    model = begin(start, run_of("gan"))
    assert torch.equal(model.get_parameter("critic.realism.weight"), fresh.get_parameter("critic.realism.weight"))
    assert not torch.equal(model.get_parameter("generator.begin.weight"), fresh.get_parameter("generator.begin.weight"))
    assert "again starts from version 3" in caplog.text
    assert "it begins afresh: critic" in caplog.text
    with pytest.raises(UsageError, match="no critic that fits"):
        begin(start, run_of("gan", freeze_critic=1))


def test_what_is_new_to_the_weights_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    begin(keep_start(tmp_path, "gan"), run_of("gan"), MORE, CONDITIONS)
    assert "new to these weights: bag, shade, price" in caplog.text


def test_weights_that_knew_attributes_start_a_run_that_does_not(tmp_path: Path) -> None:
    for name in SMALL:
        begin(keep_start(tmp_path, name, CONDITIONS), run_of(name))


def _narrow() -> vae.Config:
    return vae.Config(latent=8, width=4, polish=None, prior=vae.GaussianPrior())


@pytest.mark.parametrize(
    ("model", "categories", "image", "told"),
    [
        (SMALL["gan"], CATEGORIES, IMAGE, "the family is vae there, gan here"),
        (None, CATEGORIES, ImageSpec(size=32), "pictures are 16 px there, 32 px here"),
        (None, ("cup", "lamp"), IMAGE, "no category is the same: hat, mug, shoe there, cup, lamp here"),
        (_narrow(), CATEGORIES, IMAGE, "width is 8 there, 4 here"),
    ],
)
def test_what_cannot_be_carried_over_is_refused_and_told(
    model: AnyModel | None, categories: tuple[str, ...], image: ImageSpec, told: str, tmp_path: Path
) -> None:
    start = keep_start(tmp_path, "vae-gaussians")
    run = run_of("vae-gaussians", model)
    with pytest.raises(UsageError, match=told) as refused:
        build(run, image, categories, (), seed=5, device=CPU, start=start)
    assert refused.value.where == "again: init_from"


def test_weights_whose_bytes_changed_start_nothing(tmp_path: Path) -> None:
    start = keep_start(tmp_path, "gan")
    assert start.training is not None
    for path in (start.training, start.weights):
        content = bytearray(path.read_bytes())
        content[-1] ^= 4
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match="sha256"):
            begin(start, run_of("gan"))


def test_a_critic_of_other_weights_is_refused(tmp_path: Path) -> None:
    one, other = keep_start(tmp_path / "one", "gan"), keep_start(tmp_path / "other", "gan", categories=MORE)
    mixed = Start(one.origin.model_copy(update={"training": other.origin.training}), one.weights, other.training)
    with pytest.raises(IntegrityError, match="it belongs to other weights"):
        begin(mixed, run_of("gan"))


@pytest.mark.parametrize(
    ("name", "loss"), [("vae-gaussians", "autoencoder/reconstruction"), ("vae-flow", "autoencoder/reconstruction")]
)
def test_a_run_that_starts_from_weights_begins_with_lower_losses(name: str, loss: str, tmp_path: Path) -> None:
    before = Heard()
    state = run_through(tmp_path / "before", params(name, steps=120), before)
    again = Heard()
    settings = params(name, steps=120, runs=(run_of(name),))
    run_through(tmp_path / "again", settings, again, start=keep_start(tmp_path, name, state=state))
    assert again.values[loss, 7] < before.values[loss, 7] - 0.3


# --- freezing


def test_what_is_frozen_stays_bit_for_bit_and_the_rest_learns(tmp_path: Path) -> None:
    start = keep_start(tmp_path, "vae-flow")
    settings = params("vae-flow", runs=(run_of("vae-flow", freeze=("encoder.*", "decoder.0.*")),))
    begun = begin(start, settings.runs[0]).state_dict()
    state = run_through(tmp_path / "run", settings, start=start)
    after = state.model.state_dict()
    average = state.average.state_dict()
    for key, tensor in begun.items():
        if key.startswith(("encoder.", "decoder.0.")):
            assert torch.equal(after[key], tensor)
            assert torch.equal(average[key], tensor)
    moved = [key for key in begun if key.startswith("decoder.") and not torch.equal(after[key], begun[key])]
    assert moved
    held = sum(len(group["params"]) for group in state.optimizers["autoencoder"].param_groups)
    assert held == sum(1 for name, _ in state.model.named_parameters() if name.startswith("decoder."))


def test_what_is_frozen_stands_in_the_networks_own_order() -> None:
    """A set's would differ from process to process, and those that train together compare their tensors in it."""
    model = SMALL["gan"].build(IMAGE, CATEGORIES)
    before = [name for name, _ in model.named_parameters() if name.startswith("critic.match.")]
    freeze(model, run_of("gan", freeze=("critic.*",)))
    frozen = [name for name, _ in model.named_buffers() if name.startswith("critic.")]
    assert frozen == [name for name in model.state_dict() if name in frozen]
    assert [name for name in frozen if name.startswith("critic.match.")] == before
    layer = model.critic_layers()[0]
    assert [name.rpartition(".")[2] for name, _ in layer.named_buffers()][:2] == ["weight", "bias"]


def test_phases_with_nothing_left_to_learn_are_left_out(tmp_path: Path) -> None:
    start = keep_start(tmp_path, "vae-flow")
    run = run_of("vae-flow", freeze=("encoder.*", "decoder.*"))
    model = begin(start, run)
    assert [phase.name for phase in learning_phases(model)] == ["critic", "penalty", "flow"]
    heard = Heard()
    run_through(tmp_path / "run", params("vae-flow", runs=(run,)), heard, start=start)
    assert not [key for key, _ in heard.values if key.startswith(("autoencoder", "polish"))]
    assert [key for key, _ in heard.values if key.startswith("flow")]


@pytest.mark.parametrize(("name", "layers"), [("gan", 2), ("stylegan2", 3)])
def test_the_critics_first_layers_stay_as_they_start(name: str, layers: int, tmp_path: Path) -> None:
    """FreezeD: those that are nearest to the picture."""
    start = keep_start(tmp_path, name)
    settings = params(name, steps=6, runs=(run_of(name, freeze_critic=layers - 1),))
    begun = begin(start, settings.runs[0])
    state = run_through(tmp_path / "run", settings, start=start)
    kept, moving = begun.critic_layers()[: layers - 1], begun.critic_layers()[layers - 1 :]
    places = {id(module): place for place, module in begun.named_modules()}
    before, after = begun.state_dict(), state.model.state_dict()
    for parts, stays in ((kept, True), (moving, False)):
        for part in parts:
            keys = [key for key in before if key.startswith(f"{places[id(part)]}.") and key.endswith("weight")]
            assert keys
            assert {torch.equal(before[key], after[key]) for key in keys} == {stays}
    with pytest.raises(UsageError, match=f"the critic has {layers} layers, not {layers + 1} to keep"):
        begin(start, run_of(name, freeze_critic=layers + 1))


@pytest.mark.parametrize(
    ("patterns", "layers", "told"),
    [
        (("encodre.*",), 0, "no parameter is called encodre"),
        (("*",), 0, "nothing is left to learn"),
        ((), 1, "there is no critic, not 1 to keep"),
    ],
)
def test_freezing_what_is_not_there_or_everything_is_refused(patterns: tuple[str, ...], layers: int, told: str) -> None:
    model = SMALL["vae-gaussians"].build(IMAGE, CATEGORIES)
    with pytest.raises(UsageError, match=told) as refused:
        freeze(model, run_of("vae-gaussians", freeze=patterns, freeze_critic=layers))
    if "encodre" in told:
        assert "there are encoder" in str(refused.value)


def test_a_generator_alone_may_be_fine_tuned_and_a_critic_alone_may_not(tmp_path: Path) -> None:
    start = keep_start(tmp_path, "gan")
    assert [phase.name for phase in learning_phases(begin(start, run_of("gan", freeze=("critic.*",))))] == ["generator"]
    with pytest.raises(UsageError, match="nothing is left to learn"):
        begin(start, run_of("gan", freeze=("generator.*",)))


# --- being killed


@dataclass(frozen=True, slots=True)
class Transfer(Trial):
    """A training that starts from weights, some of which stay."""

    @property
    def settings(self) -> TrainParams:
        run = run_of("gan", freeze_critic=1) if self.family == "gan" else run_of(self.family, freeze=("encoder.0.*",))
        return params(self.family, 24, save_every=5, report_every=3, runs=(run,))

    def run(self, folder: Path, heard: Heard | None = None) -> TrainState:
        start = keep_start(folder.with_name(f"{folder.name}-start"), self.family)
        return run_through(folder, self.settings, heard, start=start)


@pytest.mark.parametrize(("family", "place"), [("gan", "train.step:11"), ("vae-flow", "train.kept:1")])
def test_a_killed_transfer_ends_in_the_same_bytes(family: str, place: str, tmp_path: Path) -> None:
    context, trial = forkserver(), Transfer(family)
    assert killed(run_child(context, tmp_path / "killed", trial, f"{place}:kill"))
    assert run_child(context, tmp_path / "killed", trial) == 0
    assert run_child(context, tmp_path / "straight", trial) == 0
    assert digest(tmp_path / "killed") == digest(tmp_path / "straight")


def test_other_weights_are_another_training(tmp_path: Path) -> None:
    one, other = keep_start(tmp_path / "one", "gan"), keep_start(tmp_path / "other", "gan", critic=False)
    assert one.origin != other.origin
    carried = [begin(start, run_of("gan")).get_parameter("critic.realism.weight") for start in (one, other)]
    assert not torch.equal(*carried)
    model = SMALL["gan"].build(IMAGE, CATEGORIES)
    carry_over(model, one, run_of("gan"))
    assert torch.equal(model.get_parameter("critic.realism.weight"), carried[0])
