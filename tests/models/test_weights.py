"""Weights carry their own card, and nothing that was changed is believed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from packshot.errors import IntegrityError, MissingArtifact, TrainingFailed
from packshot.models.weights import KEY, WeightsCard, load_weights, read_card, save_weights
from packshot.records import file_digest
from tests.models.families import CATEGORIES, CONDITIONS, IMAGE, SMALL, build, toy_batch, toy_conditions


def _card(name: str) -> WeightsCard:
    return WeightsCard(
        config=SMALL[name], image=IMAGE, categories=CATEGORIES, run="run", step=7, dataset="1" * 64, params="2" * 64, seed=3
    )


@pytest.fixture(params=SMALL)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, str]:
    path = tmp_path / "weights" / "run-7.safetensors"
    return request.param, path, save_weights(path, build(request.param), _card(request.param))


def test_weights_come_back_with_their_card_and_draw_the_same(saved: tuple[str, Path, str]) -> None:
    name, path, sha256 = saved
    assert sha256 == file_digest(path)
    model, card = load_weights(path, sha256)
    assert card == _card(name) == read_card(path)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    batch = toy_batch(5)
    torch.testing.assert_close(
        model.sample(batch.categories, range(5)), build(name).sample(batch.categories, range(5)), atol=1e-5, rtol=0
    )
    assert model.reconstruct(batch.images, batch.categories).shape == batch.images.shape


@pytest.mark.parametrize("name", SMALL)
def test_weights_say_which_attributes_they_know(name: str, tmp_path: Path) -> None:
    model, path = build(name, conditions=CONDITIONS), tmp_path / "told.safetensors"
    card = _card(name).model_copy(update={"conditions": CONDITIONS})
    save_weights(path, model, card)
    again, own = load_weights(path)
    assert (own, again.conditions) == (card, CONDITIONS)
    told = toy_conditions(3)
    categories = torch.arange(3)
    torch.testing.assert_close(
        again.sample(categories, range(3), told), model.sample(categories, range(3), told), atol=1e-5, rtol=0
    )
    save_weights(path, model, card.model_copy(update={"conditions": CONDITIONS[:1]}))
    with pytest.raises(IntegrityError, match="not those of its config"):
        load_weights(path)
    plain = tmp_path / "plain.safetensors"
    save_weights(plain, build(name), _card(name))
    assert b"conditions" not in plain.read_bytes()


def test_only_what_is_deployed_is_stored_and_loaded(saved: tuple[str, Path, str]) -> None:
    name, path, _ = saved
    model, _ = load_weights(path)
    assert {child for child, _ in model.named_children()} == set(build(name).deployed)
    tensors = load(path.read_bytes())
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert not [tensor for tensor in tensors if tensor.startswith("critic")]


def test_the_same_weights_are_the_same_bytes(saved: tuple[str, Path, str], tmp_path: Path) -> None:
    name, path, sha256 = saved
    again = build(name).to(memory_format=torch.channels_last)
    assert save_weights(tmp_path / "again.safetensors", again, _card(name)) == sha256
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_loading_leaves_the_global_chances_alone(saved: tuple[str, Path, str]) -> None:
    before = torch.get_rng_state()
    load_weights(saved[1])
    assert torch.equal(before, torch.get_rng_state())


def test_another_digest_is_refused(saved: tuple[str, Path, str]) -> None:
    with pytest.raises(IntegrityError, match="not 0000"):
        load_weights(saved[1], "0" * 64)


def _content(tmp_path: Path) -> tuple[dict[str, torch.Tensor], Path]:
    path = tmp_path / "w.safetensors"
    save_weights(path, build("gan"), _card("gan"))
    return load(path.read_bytes()), path


@pytest.mark.parametrize("keep", [0, 5, 9, 300, -1])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    _, path = _content(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(IntegrityError):
        load_weights(path)


def test_tensors_that_the_card_does_not_call_for_are_refused(tmp_path: Path) -> None:
    tensors, path = _content(tmp_path)
    metadata = {KEY: _card("gan").model_dump_json()}
    first = max(tensors, key=lambda name: (tensors[name].numel(), name))  # safetensors tells them in any order
    wrong = [
        {**tensors, "critic.extra": torch.zeros(1)},
        {name: tensor for name, tensor in tensors.items() if name != first},
        {**tensors, first: tensors[first][:1].clone()},
        {**tensors, first: tensors[first].half()},
    ]
    for state in wrong:
        path.write_bytes(save(state, metadata))
        with pytest.raises(IntegrityError, match="not those of its config"):
            load_weights(path)


@pytest.mark.parametrize(
    "metadata",
    [None, {}, {KEY: "no JSON"}, {KEY: "{}"}, {KEY: json.dumps({"config": {"family": "unheard-of"}})}, {"other": "{}"}],
)
def test_a_card_that_is_off_is_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    tensors, path = _content(tmp_path)
    path.write_bytes(save(tensors, metadata))
    with pytest.raises(IntegrityError):
        load_weights(path)
    with pytest.raises(IntegrityError):
        read_card(path)


def test_no_file_is_a_missing_artifact(tmp_path: Path) -> None:
    for read in (load_weights, read_card):
        with pytest.raises(MissingArtifact):
            read(tmp_path / "none.safetensors")


def test_weights_that_are_not_finite_are_never_written(tmp_path: Path) -> None:
    model = build("gan")
    with torch.no_grad():
        next(model.parameters()).view(-1)[3] = float("nan")
    with pytest.raises(TrainingFailed, match="not finite"):
        save_weights(tmp_path / "w.safetensors", model, _card("gan"))
    assert not list(tmp_path.iterdir())
