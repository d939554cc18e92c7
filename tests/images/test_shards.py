from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from packshot.errors import IntegrityError, MissingArtifact, OutOfResources
from packshot.images.shards import Split, load_split, pixel_file
from tests.images.files import save_split


def split(count: int = 5, size: int = 16) -> Split:
    chances = np.random.default_rng(count)
    return Split(
        images=chances.integers(0, 256, (count, 3, size, size), dtype=np.uint8),
        categories=chances.integers(0, 3, count),
        ids=tuple(f"{index:064x}" for index in range(count)),
        groups=tuple(f"{index // 2:064x}" for index in range(count)),
    )


def test_a_split_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    saved = split()
    save_split(tmp_path, "train", saved)
    loaded = load_split(tmp_path, "train")
    assert np.array_equal(loaded.images, saved.images)
    assert isinstance(loaded.images, np.memmap)
    assert not loaded.images.flags.writeable
    assert loaded.categories.dtype == np.int64
    assert np.array_equal(loaded.categories, saved.categories)
    assert (loaded.ids, loaded.groups, len(loaded)) == (saved.ids, saved.groups, 5)


def test_the_same_split_is_saved_to_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_split(tmp_path / name, "val", split())
    for file in ("val-pixels.npy", "val-index.parquet"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def interrupt() -> None:
        with pixel_file(tmp_path, "train", 3, 16) as pixels:
            pixels[0] = 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupt()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_before_a_picture_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OutOfResources, match=r"2,304 bytes are needed, [\d,]+ are free"):
        save_split(tmp_path, "train", split(3))
    assert not list(tmp_path.iterdir())


def test_a_split_that_was_never_packed_names_its_stage(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match="'prepare': run it first"):
        load_split(tmp_path / "prepare", "test")


@pytest.mark.parametrize("damage", ["cut", "text", "other"])
def test_files_that_do_not_belong_together_are_refused(tmp_path: Path, damage: str) -> None:
    save_split(tmp_path, "train", split())
    pixels = tmp_path / "train-pixels.npy"
    if damage == "cut":
        pixels.write_bytes(pixels.read_bytes()[:-100])
    elif damage == "text":
        pixels.write_bytes(b"not an array")
    else:
        save_split(tmp_path / "other", "train", split(4))
        (tmp_path / "other" / "train-pixels.npy").replace(pixels)
    with pytest.raises(IntegrityError):
        load_split(tmp_path, "train")


def test_a_damaged_index_is_refused(tmp_path: Path) -> None:
    save_split(tmp_path, "train", split())
    (tmp_path / "train-index.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(IntegrityError):
        load_split(tmp_path, "train")


def test_a_pickled_array_is_never_loaded(tmp_path: Path) -> None:
    save_split(tmp_path, "train", split())
    np.save(tmp_path / "train-pixels.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(IntegrityError):
        load_split(tmp_path, "train")
