from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from packshot.errors import DataRejected, IntegrityError, MissingArtifact, OutOfResources, ParamsError
from packshot.images import packing
from packshot.images.manifest import read_copies, read_manifest
from packshot.images.resize import fit_square
from packshot.images.shards import SPLITS, find_file, load_split
from packshot.images.sheet import decode_png
from packshot.images.store import read_blobs
from packshot.layout import Layout
from packshot.params import Params
from packshot.records import Attribute, Catalog, Dataset
from packshot.sources.folder import Folder
from packshot.stages.ingest import ingest
from packshot.stages.prepare import prepare
from tests.images.files import jpeg, png, product
from tests.stages.catalogues import small_params, write_catalogue

INGEST: dict[str, object] = {"source": Folder(kind="folder", path="data/catalog"), "duplicate_radius": 10}


def params_of(**prepare_: object) -> Params:
    return small_params(ingest=INGEST, prepare=prepare_)


PARAMS = params_of()


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def copy_of(layout: Layout, root: Path, *stages: str) -> Layout:
    for stage in stages:
        shutil.copytree(layout.stage(stage), Layout(root).stage(stage))
    return Layout(root)


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


@pytest.fixture(scope="module")
def grown(prepared: Layout, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The same catalogue with more photos and one less, ingested; prepare has not run."""
    layout = Layout(tmp_path_factory.mktemp("grown"))
    shutil.copytree(prepared.catalog, layout.catalog)
    for index in range(40, 50):
        (layout.catalog / "shoe" / f"new {index}.png").write_bytes(png(product(9000 + index, 40, 48)))
    (layout.catalog / "hat" / "030.png").unlink()
    ingest(PARAMS, layout)
    return layout


def test_every_photo_stands_in_one_split_as_it_was_ingested(prepared: Layout) -> None:
    dataset = Dataset.read(prepared.stage("prepare") / "dataset.json")
    rows = {row["sha256"]: row for row in read_manifest(prepared.stage("ingest") / "manifest.parquet").to_pylist()}
    catalog = Catalog.read(prepared.stage("ingest") / "catalog.json")
    photos = dict(pair for shard in catalog.shards for pair in read_blobs(prepared.stage("ingest"), shard.name))
    seen: list[str] = []
    for count in dataset.splits:
        split = load_split(prepared.stage("prepare"), count.split)
        seen += split.ids
        assert list(split.ids) == sorted(split.ids)
        assert len(split) == count.photos == sum(each.photos for each in count.counts)
        for image, category, name in zip(split.images, split.categories, split.ids, strict=True):
            assert dataset.categories[category] == rows[name]["category"]
            assert np.array_equal(image, fit_square(decode_png(photos[name]), 16, (255, 255, 255)).transpose(2, 0, 1))
    assert sorted(seen) == sorted(rows)
    assert dataset.categories == ("hat", "shoe")


def test_no_group_and_no_planted_copy_stands_in_two_splits(prepared: Layout) -> None:
    source = prepared.stage("ingest")
    rows = {row["sha256"]: row["path"] for row in read_manifest(source / "manifest.parquet").to_pylist()}
    splits = {name: load_split(prepared.stage("prepare"), name) for name in SPLITS}
    groups = [set(split.groups) for split in splits.values()]
    assert not (groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2])
    place = {name: split for split, loaded in splits.items() for name in loaded.ids}
    pairs = read_copies(source / "copies.parquet").to_pylist()
    assert len(pairs) >= 15
    assert all(place[pair["a"]] == place[pair["b"]] for pair in pairs)
    where = {rows[name]: split for name, split in place.items()}
    for index in range(15):
        suffix = "jpg" if index % 2 else "png"
        assert where[f"hat/{index:03d}.{suffix}"] == where[f"hat/mirrored {index}.jpg"]


def test_the_same_catalogue_is_packed_to_the_same_bytes(prepared: Layout, tmp_path: Path) -> None:
    copy = copy_of(prepared, tmp_path, "ingest", "prepare")
    before = digests(copy.stage("prepare"))
    (copy.stage("prepare") / ".train-pixels.part.77.draft").write_bytes(b"left by a killed run")
    prepare(PARAMS, copy)
    assert digests(copy.stage("prepare")) == before
    shutil.rmtree(copy.stage("prepare"))
    prepare(PARAMS, copy)
    assert digests(copy.stage("prepare")) == before


def test_only_new_photos_are_decoded_and_the_outcome_is_that_of_a_run_from_nothing(
    prepared: Layout, grown: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = copy_of(grown, tmp_path / "bare", "ingest")
    prepare(PARAMS, bare)
    later = copy_of(grown, tmp_path / "later", "ingest")
    shutil.copytree(prepared.stage("prepare"), later.stage("prepare"))
    decoded: list[bytes] = []
    monkeypatch.setattr(packing, "decode_png", lambda png: decoded.append(png) or decode_png(png))
    prepare(PARAMS, later)
    assert len(decoded) == 10
    assert digests(later.stage("prepare")) == digests(bare.stage("prepare"))


@pytest.mark.parametrize("changes", [{"background": "#000000"}, {"salt": "b"}, {"test_share": 0.3}])
def test_another_recipe_or_split_comes_out_as_from_nothing(prepared: Layout, tmp_path: Path, changes: dict[str, object]) -> None:
    bare, later = copy_of(prepared, tmp_path / "bare", "ingest"), copy_of(prepared, tmp_path / "later", "ingest", "prepare")
    first = Dataset.read(prepared.stage("prepare") / "dataset.json").digest
    assert prepare(params_of(**changes), later).digest == prepare(params_of(**changes), bare).digest != first
    assert digests(later.stage("prepare")) == digests(bare.stage("prepare"))


@pytest.mark.parametrize("stem", ["train-pixels", "val-index"])
def test_damaged_pictures_are_not_used_again(prepared: Layout, tmp_path: Path, stem: str) -> None:
    copy = copy_of(prepared, tmp_path, "ingest", "prepare")
    before = digests(copy.stage("prepare"))
    found = find_file(Dataset.read(copy.stage("prepare") / "dataset.json"), stem)
    assert found is not None
    path = copy.stage("prepare") / found.name
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    prepare(PARAMS, copy)
    assert digests(copy.stage("prepare")) == before


PLACES = ["prepare.photo:4", "prepare.packed", "prepare.packed:3", "prepare.index", "prepare.index:3", "prepare.dataset"]


@pytest.mark.parametrize("place", PLACES)
def test_a_kill_leaves_the_old_version_or_the_new_one_whole(prepared: Layout, grown: Layout, tmp_path: Path, place: str) -> None:
    later = copy_of(grown, tmp_path / "later", "ingest")
    shutil.copytree(prepared.stage("prepare"), later.stage("prepare"))
    old = Dataset.read(later.stage("prepare") / "dataset.json").digest
    child = multiprocessing.get_context("fork").Process(target=_prepare_until, args=(later.root, place))
    child.start()
    child.join()
    assert child.exitcode == -9
    found = Dataset.read(later.stage("prepare") / "dataset.json").digest
    assert (found == old) == (place != "prepare.dataset")
    assert sum(len(load_split(later.stage("prepare"), name)) for name in SPLITS) == (95 if found == old else 104)
    prepare(PARAMS, later)
    bare = copy_of(grown, tmp_path / "bare", "ingest")
    prepare(PARAMS, bare)
    assert digests(later.stage("prepare")) == digests(bare.stage("prepare"))


def _prepare_until(root: Path, place: str) -> None:
    os.environ["PACKSHOT_FAILPOINT"] = f"{place}:kill"
    prepare(PARAMS, Layout(root))


def test_a_full_disk_leaves_the_old_version(
    prepared: Layout, grown: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = copy_of(grown, tmp_path, "ingest")
    shutil.copytree(prepared.stage("prepare"), later.stage("prepare"))
    before = digests(later.stage("prepare"))

    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OutOfResources, match=r"bytes are needed, [\d,]+ are free"):
        prepare(PARAMS, later)
    assert digests(later.stage("prepare")) == before


def test_attributes_become_conditions(prepared: Layout, tmp_path: Path) -> None:
    copy = copy_of(prepared, tmp_path, "ingest")
    plain = Dataset.read(prepared.stage("prepare") / "dataset.json")
    source = copy.stage("ingest")
    table = pq.read_table(source / "manifest.parquet")
    colours = [("red", "blue", None)[row % 3] for row in range(table.num_rows)]
    pq.write_table(table.append_column("colour", pa.array(colours)), source / "manifest.parquet")
    catalog = Catalog.read(source / "catalog.json")
    catalog.model_copy(update={"attributes": (Attribute(name="colour", kind="label"),)}).write(source / "catalog.json")
    dataset = prepare(params_of(conditions=("colour",)), copy)
    assert [(one.name, one.values) for one in dataset.conditions] == [("colour", ("blue", "red"))]
    assert dataset.digest != plain.digest
    told = dict(zip(table["sha256"].to_pylist(), colours, strict=True))
    for name in SPLITS:
        split = load_split(copy.stage("prepare"), name)
        expected = [[told[one] == "blue", told[one] == "red"] for one in split.ids]
        assert split.conditions.tolist() == np.array(expected, dtype=float).tolist()
        assert np.array_equal(split.images, load_split(prepared.stage("prepare"), name).images)
    with pytest.raises(ParamsError, match="there is no such attribute"):
        prepare(params_of(conditions=("size",)), copy)


def test_a_photo_that_would_join_two_splits_is_left_out_by_name(prepared: Layout, tmp_path: Path) -> None:
    copy = copy_of(prepared, tmp_path, "ingest")
    source = copy.stage("ingest")
    where = {name: split for split in SPLITS for name in load_split(prepared.stage("prepare"), split).ids}
    table = read_manifest(source / "manifest.parquet")
    pairs = {tuple(pair.values()) for pair in read_copies(source / "copies.parquet").to_pylist()}
    single = sorted(set(where) - {name for pair in pairs for name in pair})
    newcomer = next(name for name in single if where[name] == "train")
    ends = [next(name for name in single if where[name] == split and name != newcomer) for split in ("train", "test")]
    generations = [2 if name == newcomer else 1 for name in table["sha256"].to_pylist()]
    place = table.schema.get_field_index("generation")
    table = table.set_column(place, table.schema.field(place), pa.array(generations, pa.int32()))
    pq.write_table(table, source / "manifest.parquet")
    joined = sorted(pairs | {tuple(sorted((newcomer, end))) for end in ends})
    old = pq.read_table(source / "copies.parquet")
    pq.write_table(
        pa.table([pa.array(column) for column in zip(*joined, strict=True)], schema=old.schema), source / "copies.parquet"
    )
    dataset = prepare(PARAMS, copy)
    assert dataset.left_out == 1
    named = find_file(dataset, "left-out")
    assert named is not None
    assert pq.read_table(copy.stage("prepare") / named.name)["sha256"].to_pylist() == [newcomer]
    now = {name: split for split in SPLITS for name in load_split(copy.stage("prepare"), split).ids}
    assert now == {name: split for name, split in where.items() if name != newcomer}


def test_a_category_too_small_for_a_split_is_named(prepared: Layout, tmp_path: Path) -> None:
    copy = copy_of(prepared, tmp_path, "ingest", "prepare")
    before = digests(copy.stage("prepare"))
    with pytest.raises(DataRejected, match=r"'shoe' has \d+ in val.*prepare.min_photos"):
        prepare(params_of(min_photos=30), copy)
    assert digests(copy.stage("prepare")) == before


def test_photos_that_are_not_those_that_were_ingested_are_noticed(prepared: Layout, tmp_path: Path) -> None:
    copy = copy_of(prepared, tmp_path, "ingest")
    path = copy.stage("ingest") / "manifest.parquet"
    table = read_manifest(path)
    place = table.schema.get_field_index("pixels")
    swapped = table["pixels"].to_pylist()
    swapped[0] = swapped[1]
    pq.write_table(table.set_column(place, table.schema.field(place), pa.array(swapped)), path)
    with pytest.raises(IntegrityError, match="not those that were ingested"):
        prepare(PARAMS, copy)
    place = table.schema.get_field_index("row")
    moved = pa.array([*table["row"].to_pylist()[1:], 0], pa.int32())
    pq.write_table(table.set_column(place, table.schema.field(place), moved), path)
    with pytest.raises(IntegrityError, match="not those that were ingested"):
        prepare(PARAMS, copy)


def test_prepare_before_ingest_names_ingest(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match="'ingest': run it first"):
        prepare(PARAMS, Layout(tmp_path))
