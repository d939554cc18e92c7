from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from packshot.errors import DataRejected, IntegrityError, MissingArtifact
from packshot.images.manifest import read_manifest, read_photos, write_photos
from packshot.images.resize import fit_square
from packshot.images.shards import SPLITS, load_split
from packshot.images.sheet import decode_png
from packshot.layout import Layout
from packshot.records import Dataset
from packshot.stages.ingest import ingest
from packshot.stages.prepare import prepare
from tests.images.files import jpeg, png, product
from tests.stages.catalogues import small_params, write_catalogue

PARAMS = small_params(prepare={"duplicate_radius": 10})


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = Layout(tmp_path_factory.mktemp("prepared"))
    write_catalogue(layout.catalog, photos=40)
    for index in range(15):
        mirrored = np.ascontiguousarray(product(index, 40, 48)[:, ::-1])
        (layout.catalog / "hat" / f"mirrored {index}.jpg").write_bytes(jpeg(mirrored))
    ingest(PARAMS, layout)
    prepare(PARAMS, layout)
    return layout


def test_every_photo_stands_in_one_split_as_it_was_ingested(prepared: Layout) -> None:
    dataset = Dataset.read(prepared.stage("prepare") / "dataset.json")
    rows = {row.sha256: row for row in read_manifest(prepared.stage("ingest") / "manifest.parquet")}
    photos = dict(photo for path in prepared.stage("ingest").glob("photos-*.parquet") for photo in read_photos(path))
    seen: list[str] = []
    for count in dataset.splits:
        split = load_split(prepared.stage("prepare"), count.split)
        seen += split.ids
        assert len(split) == count.photos == sum(each.photos for each in count.counts)
        for image, category, name in zip(split.images, split.categories, split.ids, strict=True):
            assert dataset.categories[category] == rows[name].category
            assert np.array_equal(image, fit_square(decode_png(photos[name]), 16, (255, 255, 255)).transpose(2, 0, 1))
    assert sorted(seen) == sorted(rows)
    assert dataset.categories == ("hat", "shoe")


def test_no_group_and_no_planted_copy_stands_in_two_splits(prepared: Layout) -> None:
    rows = {row.sha256: row.path for row in read_manifest(prepared.stage("ingest") / "manifest.parquet")}
    splits = {name: load_split(prepared.stage("prepare"), name) for name in SPLITS}
    groups = [set(split.groups) for split in splits.values()]
    assert not (groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2])
    where = {rows[name]: split for split, loaded in splits.items() for name in loaded.ids}
    for index in range(15):
        suffix = "jpg" if index % 2 else "png"
        assert where[f"hat/{index:03d}.{suffix}"] == where[f"hat/mirrored {index}.jpg"]


def test_the_same_catalogue_is_packed_to_the_same_bytes(prepared: Layout) -> None:
    before = digests(prepared.stage("prepare"))
    (prepared.stage("prepare") / ".train-pixels.npy.77.draft").write_bytes(b"left by a killed run")
    (prepared.stage("prepare") / "train-pixels.npy").write_bytes(b"half")
    prepare(PARAMS, prepared)
    assert digests(prepared.stage("prepare")) == before


def test_new_photos_leave_the_old_ones_in_their_splits(prepared: Layout, tmp_path: Path) -> None:
    grown = Layout(tmp_path)
    write_catalogue(grown.catalog, photos=40)
    for index in range(40, 50):
        (grown.catalog / "shoe" / f"new {index}.png").write_bytes(png(product(9000 + index, 40, 48)))
    ingest(PARAMS, grown)
    prepare(PARAMS, grown)
    old = {name: split for split in SPLITS for name in load_split(prepared.stage("prepare"), split).ids}
    new = {name: split for split in SPLITS for name in load_split(grown.stage("prepare"), split).ids}
    both = old.keys() & new.keys()
    moved = [name for name in both if old[name] != new[name]]
    assert len(both) == 80
    assert len(moved) <= 8  # those whose groups lost their mirrored copies


def test_a_category_too_small_for_a_split_is_named(prepared: Layout) -> None:
    with pytest.raises(DataRejected, match=r"'shoe' has \d+ in val.*prepare.min_photos"):
        prepare(small_params(prepare={"min_photos": 30}), prepared)


def test_other_shares_are_another_dataset(prepared: Layout, tmp_path: Path) -> None:
    first = Dataset.read(prepared.stage("prepare") / "dataset.json").digest
    other = Layout(tmp_path)
    other.data.mkdir()
    other.stage("ingest").symlink_to(prepared.stage("ingest"))
    assert prepare(small_params(prepare={"duplicate_radius": 10}), other).digest == first
    assert prepare(small_params(prepare={"duplicate_radius": 10, "salt": "b"}), other).digest != first
    assert prepare(small_params(prepare={"duplicate_radius": 10, "background": "#000000"}), other).digest != first


def test_swapped_pixels_are_noticed(prepared: Layout, tmp_path: Path) -> None:
    copy = Layout(tmp_path)
    copy.stage("ingest").mkdir(parents=True)
    for path in prepared.stage("ingest").iterdir():
        (copy.stage("ingest") / path.name).write_bytes(path.read_bytes())
    shard = copy.stage("ingest") / "photos-00000.parquet"
    photos = list(read_photos(shard))
    (first, _), (_, other) = photos[0], photos[1]
    write_photos(shard, [(first, other), *photos[1:]])
    with pytest.raises(IntegrityError, match="not those that were ingested"):
        prepare(PARAMS, copy)
    write_photos(shard, [*photos, photos[0]])
    with pytest.raises(IntegrityError, match="manifest does not know"):
        prepare(PARAMS, copy)
    write_photos(shard, photos[:-1])
    with pytest.raises(IntegrityError, match="missing"):
        prepare(PARAMS, copy)


def test_prepare_before_ingest_names_ingest(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match="'ingest': run it first"):
        prepare(PARAMS, Layout(tmp_path))
