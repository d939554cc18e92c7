from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from packshot.errors import IntegrityError, MissingArtifact, OutOfResources
from packshot.images.conditions import encode_conditions
from packshot.images.shards import Split, draft_pixels, find_file, keep_pixels, load_split, remove_strays
from packshot.records import Condition, Dataset, ImageSpec
from tests.stages.datasets import pack_dataset

COLOUR = Condition(name="colour", kind="label", values=("blue", "red"))
PRICE = Condition(name="price", kind="number", mean=10.0, deviation=2.0)
KINDS = ("hat", "shoe", "tie")


def split(count: int = 5, size: int = 16) -> Split:
    chances = np.random.default_rng(count)
    return Split(
        images=chances.integers(0, 256, (count, 3, size, size), dtype=np.uint8),
        categories=chances.integers(0, 3, count),
        ids=tuple(f"{index:064x}" for index in range(count)),
        groups=tuple(f"{index // 2:064x}" for index in range(count)),
    )


def save(folder: Path, **splits: Split) -> Dataset:
    return pack_dataset(folder, splits, ImageSpec(size=16), KINDS, digest="d" * 64)


def test_a_split_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    saved = split()
    save(tmp_path, train=saved)
    loaded = load_split(tmp_path, "train")
    assert np.array_equal(loaded.images, saved.images)
    assert isinstance(loaded.images, np.memmap)
    assert not loaded.images.flags.writeable
    assert loaded.categories.dtype == np.int64
    assert np.array_equal(loaded.categories, saved.categories)
    assert (loaded.ids, loaded.groups, len(loaded)) == (saved.ids, saved.groups, 5)
    assert loaded.conditions.shape == (5, 0)
    assert loaded.conditions.dtype == np.float32


def test_conditions_come_back_as_they_are_encoded(tmp_path: Path) -> None:
    columns = {"colour": ["red", None, "blue", "red", None], "price": [12.0, None, 9.0, 10.0, 8.0]}
    encoded = encode_conditions((COLOUR, PRICE), columns, 5)
    plain = split()
    known = Split(plain.images, plain.categories, plain.ids, plain.groups, encoded)
    pack_dataset(tmp_path, {"train": known}, ImageSpec(size=16), KINDS, (COLOUR, PRICE), digest="d" * 64)
    assert np.array_equal(load_split(tmp_path, "train").conditions, encoded)
    assert encoded.tolist()[0] == [0.0, 1.0, 1.0, 1.0]


def test_the_same_split_is_saved_to_the_same_files(tmp_path: Path) -> None:
    assert save(tmp_path / "a", val=split()).files == save(tmp_path / "b", val=split()).files
    for file in save(tmp_path / "a", val=split()).files:
        assert (tmp_path / "a" / file.name).read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def interrupt() -> None:
        with draft_pixels(tmp_path, "train", 3, 16) as pixels:
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
        save(tmp_path, train=split(3))
    assert not list(tmp_path.iterdir())


def test_a_dataset_that_was_never_packed_names_its_stage(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match="'prepare': run it first"):
        load_split(tmp_path / "prepare", "test")


def test_a_split_that_the_dataset_does_not_have_is_told(tmp_path: Path) -> None:
    save(tmp_path, train=split())
    with pytest.raises(IntegrityError, match=r"dataset\.json names no such file"):
        load_split(tmp_path, "val")


@pytest.mark.parametrize("stem", ["train-pixels", "train-index"])
@pytest.mark.parametrize("damage", ["cut", "bit", "gone", "other"])
def test_files_that_are_not_those_that_were_packed_are_refused(tmp_path: Path, stem: str, damage: str) -> None:
    dataset = save(tmp_path, train=split())
    found = find_file(dataset, stem)
    assert found is not None
    path = tmp_path / found.name
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:-100])
    elif damage == "bit":
        path.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    elif damage == "gone":
        path.unlink()
    else:
        other = find_file(save(tmp_path / "other", train=split(4)), stem)
        assert other is not None
        (tmp_path / "other" / other.name).replace(path)
    with pytest.raises(IntegrityError, match="it is missing" if damage == "gone" else "its bytes have changed"):
        load_split(tmp_path, "train")


def test_new_pixels_are_never_seen_with_an_old_index(tmp_path: Path) -> None:
    old = save(tmp_path, train=split(5))
    with draft_pixels(tmp_path, "train", 7, 16) as pixels:
        pixels[:] = 9
    keep_pixels(tmp_path, "train")
    assert len(load_split(tmp_path, "train")) == 5
    new, index = (find_file(save(tmp_path / part, train=split(7)), f"train-{part}") for part in ("pixels", "index"))
    assert new is not None
    assert index is not None
    mixed = [new if file.name.startswith("train-pixels") else file for file in old.files]
    (tmp_path / "pixels" / new.name).replace(tmp_path / new.name)
    old.model_copy(update={"files": tuple(mixed)}).write(tmp_path / "dataset.json")
    with pytest.raises(IntegrityError, match="7 pictures and an index of 5 rows"):
        load_split(tmp_path, "train")


def test_a_pickled_array_is_never_loaded(tmp_path: Path) -> None:
    dataset = save(tmp_path, train=split())
    np.save(tmp_path / "train-pixels.part", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "train-pixels.part.npy").replace(tmp_path / "train-pixels.part")
    files = [keep_pixels(tmp_path, "train"), *dataset.files[1:]]
    dataset.model_copy(update={"files": tuple(files)}).write(tmp_path / "dataset.json")
    with pytest.raises(IntegrityError, match="not a packed split"):
        load_split(tmp_path, "train")


def test_only_what_the_dataset_names_and_what_dvc_keeps_stays(tmp_path: Path) -> None:
    dataset = save(tmp_path, train=split())
    for name in (".gitignore", ".train-pixels.part.77.draft", "train-pixels.part", "val-index-0123456789ab.parquet"):
        (tmp_path / name).write_bytes(b"/train\n")
    remove_strays(tmp_path, dataset)
    assert {path.name for path in tmp_path.iterdir()} == {"dataset.json", ".gitignore", *(file.name for file in dataset.files)}
