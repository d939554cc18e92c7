"""The same category and seed give the same picture; what is broken is never served."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from packshot.errors import IntegrityError, MissingArtifact
from packshot.images.conditions import encode_wish
from packshot.models import AnyModel
from packshot.models.base import ImageModel
from packshot.records import Condition
from packshot.serving.batching import Batcher, Work
from packshot.serving.engine import MICRO_BATCH, Engine, Photo, Wish, settle
from tests.serving.conftest import wait_until
from tests.serving.shelf import CATEGORIES, CONDITIONS, GAN, IMAGE, STYLEGAN2, VAE, Shelf


def engine(folder: Path, config: AnyModel = VAE, conditions: tuple[Condition, ...] = ()) -> Engine:
    shelf = Shelf(folder)
    shelf.put(1, config, conditions=conditions)
    return Engine.load(shelf.record(1, 1))


@pytest.mark.parametrize("config", [VAE, GAN, STYLEGAN2], ids=["vae", "gan", "stylegan2"])
def test_hundreds_of_pictures_are_the_same_whatever_is_drawn_beside_them(tmp_path: Path, config: AnyModel) -> None:
    served = engine(tmp_path, config)
    chance = random.Random(0)
    wishes = [Wish(chance.randrange(len(CATEGORIES)), chance.randrange(2**63)) for _ in range(300)]
    alone = {wish: served.draw([wish])[0] for wish in wishes}
    assert len({picture.tobytes() for picture in alone.values()}) > 290
    for _ in range(2):
        chance.shuffle(wishes)
        rest = wishes
        while rest:
            some, rest = rest[: (size := chance.randint(1, MICRO_BATCH))], rest[size:]
            for wish, picture in zip(some, served.draw(some), strict=True):
                np.testing.assert_array_equal(picture, alone[wish])


@pytest.mark.parametrize("config", [VAE, GAN, STYLEGAN2], ids=["vae", "gan", "stylegan2"])
def test_pictures_with_attributes_are_the_same_whatever_is_drawn_beside_them(tmp_path: Path, config: AnyModel) -> None:
    served = engine(tmp_path, config, CONDITIONS)
    served.warm_up()
    navy, dear = (tuple(encode_wish(CONDITIONS, wish).tolist()) for wish in ({"colour": "navy"}, {"price": 31.0}))
    wishes = [Wish(kind, 7, told) for kind in range(2) for told in ((), navy, dear)]
    alone = [served.draw([wish])[0] for wish in wishes]
    assert len({picture.tobytes() for picture in alone}) == 6
    for one, other in zip(served.draw(wishes[::-1])[::-1], alone, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_card_that_promises_other_attributes_is_refused(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    card = shelf.put(1, conditions=CONDITIONS)
    card.model_copy(update={"conditions": CONDITIONS[:1]}).write(shelf.card(1))
    with pytest.raises(IntegrityError, match="other pictures"):
        Engine.load(shelf.record(1, 1))


def test_pictures_are_the_same_through_the_queue_and_after_a_reload(tmp_path: Path) -> None:
    served, again = engine(tmp_path), engine(tmp_path)
    batcher = Batcher("test", capacity=400, begin=settle)
    try:
        tickets = [batcher.submit(served.drawing, [Wish(0, 1000 * row + at) for at in range(row)]) for row in range(1, 20)]
        for row, ticket in enumerate(tickets, start=1):
            for at, picture in enumerate(ticket.done.result(60)):
                np.testing.assert_array_equal(picture, again.draw([Wish(0, 1000 * row + at)])[0])
    finally:
        batcher.close()


def test_all_63_bits_of_a_seed_count(tmp_path: Path) -> None:
    pictures = engine(tmp_path).draw([Wish(0, seed) for seed in (1, 1 + 2**32, 1 + 2**62, 0, 2**63 - 1)])
    assert len({picture.tobytes() for picture in pictures}) == 5


@pytest.mark.parametrize("config", [VAE, GAN, STYLEGAN2], ids=["vae", "gan", "stylegan2"])
def test_a_photo_is_redrawn_the_same_again_whatever_was_drawn_between(tmp_path: Path, config: AnyModel) -> None:
    served = engine(tmp_path, config)
    photo = Photo(served.draw([Wish(1, 5)])[0], 1)
    first = served.redraw([photo])[0]
    served.draw([Wish(2, 9)])
    served.redraw([Photo(255 - photo.pixels, 2)])
    np.testing.assert_array_equal(served.redraw([photo])[0], first)
    assert first.shape == (16, 16, 3)
    assert first.dtype == np.uint8


def test_sound_models_pass_the_warm_up(tmp_path: Path) -> None:
    for config in (VAE, GAN):
        engine(tmp_path, config).warm_up()


class Sketchy(torch.nn.Module):
    """A model that draws what it is told to."""

    def __init__(self, model: ImageModel, draw: object) -> None:
        super().__init__()
        self.image, self.categories, self.config, self.draw = model.image, model.categories, model.config, draw

    def sample(self, categories: Tensor, seeds: Sequence[int], conditions: Tensor | None = None) -> Tensor:
        return self.draw(len(categories))  # type: ignore[no-any-return,operator]


@pytest.mark.parametrize(
    ("draw", "what"),
    [
        (lambda n: torch.full((n, 3, 16, 16), torch.nan), "NaN"),
        (lambda n: torch.full((n, 3, 16, 16), torch.inf), "infinity"),
        (lambda n: torch.full((n, 3, 16, 16), -1.0), "flat"),
        (lambda n: torch.tensor([0.5, -0.5, 0.1])[None, :, None, None].expand(n, 3, 16, 16), "flat"),
        (lambda n: torch.rand(n, 3, 16, 16), "same picture twice"),
    ],
    ids=["nan", "infinity", "black", "one colour", "another each time"],
)
def test_broken_models_do_not_pass_the_warm_up(tmp_path: Path, draw: object, what: str) -> None:
    sound = engine(tmp_path)
    broken = Engine(Sketchy(sound.model, draw), sound.card)  # type: ignore[arg-type]
    with pytest.raises(IntegrityError, match=what):
        broken.warm_up()


def test_weights_are_loaded_by_their_digest_alone(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put(1)
    live = shelf.record(1, 1)
    content = bytearray(shelf.weights(1).read_bytes())
    content[-5] ^= 1
    shelf.weights(1).write_bytes(content)
    with pytest.raises(IntegrityError, match="sha256"):
        Engine.load(live)
    shelf.weights(1).unlink()
    with pytest.raises(MissingArtifact):
        Engine.load(live)


def test_a_card_that_belongs_to_other_weights_is_refused(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put(1)
    card = shelf.put(2, categories=("boot", "mug"))
    shelf.card(2).rename(shelf.card(1))
    with pytest.raises(IntegrityError, match="another version"):
        Engine.load(shelf.record(1, 1))
    own = shelf.record(1, 1)
    card.model_copy(update={"version": 1, "sha256": own.sha256}).write(shelf.card(1))
    with pytest.raises(IntegrityError, match="other pictures"):
        Engine.load(own)
    assert card.image == IMAGE


def test_an_engine_is_gone_when_nobody_holds_it(tmp_path: Path) -> None:
    served = engine(tmp_path)
    batcher: Batcher = Batcher("test", capacity=8, begin=settle)
    gc.disable()
    try:
        batcher.submit(served.drawing, [Wish(0, 1)]).done.result(30)
        watch = weakref.ref(served)
        del served
        wait_until(lambda: watch() is None, "the engine is gone")
    finally:
        gc.enable()
        batcher.close()


def test_a_thread_that_has_settled_uses_one_core() -> None:
    batcher: Batcher = Batcher("test", capacity=1, begin=settle)
    try:
        assert batcher.submit(Work(lambda items: [torch.get_num_threads() for _ in items], 1), [0]).done.result(30) == [1]
    finally:
        batcher.close()
