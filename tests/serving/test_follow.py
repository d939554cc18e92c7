"""The service serves what live.json says, and what it served before where that cannot be served."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from packshot.models.weights import load_weights
from packshot.serving.follow import Follower
from tests.serving.shelf import GAN, Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path)
    shelf.put(1)
    shelf.put(2, GAN)
    return shelf


def served(follower: Follower) -> tuple[int, int]:
    """Version and epoch."""
    assert follower.current is not None
    return follower.current.live.version, follower.current.live.epoch


def test_no_record_is_no_model_and_no_failure(shelf: Shelf) -> None:
    follower = Follower(shelf.live)
    follower.look()
    assert (follower.current, follower.failure) == (None, None)
    shelf.serve(1, 1)
    follower.look()
    assert served(follower) == (1, 1)


def test_promotion_and_rollback_are_followed(shelf: Shelf) -> None:
    follower = Follower(shelf.live)
    for epoch, version in enumerate((1, 2, 1), start=4):
        shelf.serve(version, epoch)
        follower.look()
        assert served(follower) == (version, epoch)
    assert (follower.swaps, follower.failure) == (3, None)


def missing_weights(shelf: Shelf) -> None:
    live = shelf.serve(2, 2)
    Path(live.weights).unlink()


def flipped_bit(shelf: Shelf) -> None:
    live = shelf.serve(2, 2)
    content = bytearray(Path(live.weights).read_bytes())
    content[-1] ^= 1
    Path(live.weights).write_bytes(content)


def cut_weights(shelf: Shelf) -> None:
    live = shelf.serve(2, 2)
    Path(live.weights).write_bytes(Path(live.weights).read_bytes()[:100])


def no_card(shelf: Shelf) -> None:
    shelf.card(2).unlink()
    shelf.serve(2, 2)


def card_of_another(shelf: Shelf) -> None:
    shelf.card(2).write_bytes(shelf.card(1).read_bytes())
    shelf.serve(2, 2)


def no_weights_at_all(shelf: Shelf) -> None:
    shelf.weights(2).write_bytes(b"hello")
    card = shelf.card(2).read_text()
    live = shelf.record(2, 2)
    shelf.card(2).write_text(card.replace(card.partition('"sha256": "')[2][:64], live.sha256))
    live.write(shelf.live)


def zeroed_weights(shelf: Shelf) -> None:
    model, _ = load_weights(shelf.weights(2))
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.zero_()
    shelf.put_model(2, model)
    assert not any(tensor.any() for tensor in load_file(shelf.weights(2)).values())
    shelf.serve(2, 2)


def half_a_record(shelf: Shelf) -> None:
    shelf.live.write_text(shelf.record(2, 2).model_dump_json()[:-40])


def old_epoch(shelf: Shelf) -> None:
    shelf.serve(2, 1)


def gone(shelf: Shelf) -> None:
    shelf.live.unlink()


def a_folder(shelf: Shelf) -> None:
    shelf.live.unlink()
    shelf.live.mkdir()


BAD = [
    missing_weights,
    flipped_bit,
    cut_weights,
    no_card,
    card_of_another,
    no_weights_at_all,
    zeroed_weights,
    half_a_record,
    old_epoch,
    gone,
    a_folder,
]


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_a_bad_candidate_is_tried_once_said_once_and_the_old_model_stays(
    shelf: Shelf, caplog: pytest.LogCaptureFixture, spoil: Callable[[Shelf], None]
) -> None:
    follower = Follower(shelf.live)
    shelf.serve(1, 1)
    follower.look()
    before = follower.current
    spoil(shelf)
    with caplog.at_level(logging.INFO, "packshot"):
        for _ in range(3):
            follower.look()
    assert follower.current is before
    assert follower.failure is not None
    assert follower.failures == 1
    assert len(caplog.records) == 1
    assert "\n" not in caplog.text.strip()


def test_the_next_good_record_clears_a_failure(shelf: Shelf) -> None:
    follower = Follower(shelf.live)
    shelf.serve(1, 1)
    follower.look()
    content = shelf.weights(2).read_bytes()
    flipped_bit(shelf)
    follower.look()
    assert follower.failure is not None
    shelf.weights(2).write_bytes(content)
    follower.look()
    assert served(follower) == (1, 1), "the same record is not tried again"
    shelf.serve(2, 3)
    follower.look()
    assert served(follower) == (2, 3)
    assert follower.failure is None


def test_a_record_that_can_be_read_again_clears_a_failure(shelf: Shelf) -> None:
    follower = Follower(shelf.live)
    shelf.serve(1, 1)
    follower.look()
    a_folder(shelf)
    follower.look()
    assert follower.failure is not None
    shelf.live.rmdir()
    shelf.serve(1, 1)
    follower.look()
    assert (served(follower), follower.failure) == ((1, 1), None)


def test_the_thread_follows_and_ends(shelf: Shelf) -> None:
    from tests.serving.conftest import wait_until

    follower = Follower(shelf.live)
    follower.start()
    try:
        shelf.serve(2, 1)
        wait_until(lambda: follower.current is not None, "the record is followed")
    finally:
        follower.stop()
    assert not follower._thread.is_alive()
