from __future__ import annotations

import hashlib
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from packshot.errors import DataRejected, IntegrityError, Locked, UsageError
from packshot.images import store
from packshot.images.fingerprint import pixel_digest
from packshot.images.manifest import read_copies, read_manifest
from packshot.images.sheet import decode_png
from packshot.images.store import read_blobs
from packshot.layout import Layout
from packshot.params import Params
from packshot.records import Catalog
from packshot.sources import listing, spool, stamps
from packshot.sources.base import Encoded
from packshot.sources.folder import Folder
from packshot.sources.packed import Packed
from packshot.sources.packing import pack_photos
from packshot.sources.synthetic import Synthetic
from packshot.stages import ingest as module
from packshot.stages.ingest import ingest
from tests.images.files import animated, encode, jpeg, png, product
from tests.sources.test_cluster import scheduler, worker
from tests.stages.catalogues import small_params, write_catalogue
from tests.stages.runs import run_ingest

PARAMS = small_params()


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight photos a shard, five outcomes a segment."""
    monkeypatch.setattr(store, "SHARD_ROWS", 8)
    monkeypatch.setattr(spool, "SEGMENT_ROWS", 5)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir()) if path.is_file()}


def project(root: Path, photos: int = 6) -> Layout:
    write_catalogue(root / "data" / "catalog", photos=photos)
    return Layout(root)


def from_nothing(layout: Layout, root: Path, params: Params = PARAMS) -> dict[str, str]:
    """The bytes that the catalogue of `layout` becomes in a fresh project."""
    other = Layout(root)
    shutil.copytree(layout.catalog, other.catalog, symlinks=True)
    ingest(params, other)
    return digests(other.stage("ingest"))


def rows_of(layout: Layout) -> dict[str, dict[str, object]]:
    return {row["path"]: row for row in read_manifest(layout.stage("ingest") / "manifest.parquet").to_pylist()}


# --- what comes out ---------------------------------------------------------------------------------------------------------


def test_every_photo_stands_in_the_manifest_and_in_a_shard(tmp_path: Path) -> None:
    layout = project(tmp_path, photos=12)
    catalog = ingest(PARAMS, layout)
    folder = layout.stage("ingest")
    rows = read_manifest(folder / "manifest.parquet").to_pylist()
    assert catalog == Catalog.read(folder / "catalog.json")
    assert (catalog.photos, catalog.quarantined, catalog.source) == (24, (), "folder data/catalog")
    assert {count.category: count.photos for count in catalog.counts} == {"hat": 12, "shoe": 12}
    assert [row["sha256"] for row in rows] == sorted(row["sha256"] for row in rows)
    assert len(catalog.shards) > 2
    shards = {shard.name: list(read_blobs(folder, shard.name)) for shard in catalog.shards}
    for row in rows:
        sha256, content = shards[row["shard"]][row["row"]]
        pixels = decode_png(content)
        assert sha256 == row["sha256"] == hashlib.sha256((layout.catalog / row["path"]).read_bytes()).hexdigest()
        assert pixel_digest(pixels) == row["pixels"]
        assert len(content) == row["stored_bytes"]
        assert max(pixels.shape[:2]) == catalog.side == 32
        assert (row["width"], row["height"]) == (40, 48)
    assert {path.name for path in folder.iterdir()} == {"catalog.json", "manifest.parquet", "copies.parquet", *shards}


def test_hostile_files_are_quarantined_by_name_and_nothing_else_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = project(tmp_path)
    hat = layout.catalog / "hat"
    hostile = {
        "empty.jpg": (b"", "EMPTY"),
        "cut.jpg": (jpeg(product(77))[:400], "TRUNCATED"),
        "text.jpg": (b"hello", "NOT_AN_IMAGE"),
        "wrong.png": (jpeg(product(78)), "EXTENSION"),
        "moving.webp": (animated("WEBP"), "ANIMATED"),
        "old.gif": (encode(product(79), "GIF"), "FORMAT"),
        "glued.jpg": (jpeg(product(80)) + b"PK\x03\x04 a zip", "TRAILING"),
    }
    for name, (content, _) in hostile.items():
        (hat / name).write_bytes(content)
    (hat / "link.jpg").symlink_to("000.png")
    os.mkfifo(hat / "pipe.jpg")
    (layout.catalog / "empty category").mkdir()
    with caplog.at_level(logging.WARNING):
        catalog = ingest(PARAMS, layout)
    expected = {f"hat/{name}": reason for name, (_, reason) in hostile.items()}
    expected |= {"hat/link.jpg": "SYMLINK", "hat/pipe.jpg": "SPECIAL_FILE", "empty category": "EMPTY_CATEGORY"}
    assert {bad.path: bad.reason for bad in catalog.quarantined} == expected
    assert {count.category: count.photos for count in catalog.counts} == {"empty category": 0, "hat": 6, "shoe": 6}
    assert all(name in caplog.text for name in expected)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert ingest(PARAMS, layout) == catalog
    assert "18 photos are offered, 1 of them are new" in caplog.text, "of what is refused only the empty file is read again"


def test_a_repeated_photo_is_kept_once(tmp_path: Path) -> None:
    layout = project(tmp_path)
    shutil.copy(layout.catalog / "hat" / "000.png", layout.catalog / "hat" / "z again.png")
    (layout.catalog / "hat" / "z as webp.webp").write_bytes(encode(product(0, 40, 48), "WEBP", lossless=True))
    catalog = ingest(PARAMS, layout)
    assert catalog.photos == 12
    assert {bad.path: (bad.reason, bad.detail) for bad in catalog.quarantined} == {
        "hat/z again.png": ("DUPLICATE", "the same picture as hat/000.png"),
        "hat/z as webp.webp": ("DUPLICATE", "the same picture as hat/000.png"),
    }
    (layout.catalog / "hat" / "z as webp.webp").rename(layout.catalog / "hat" / "0 first.webp")
    later = ingest(PARAMS, layout)
    assert {bad.path for bad in later.quarantined} == {"hat/000.png", "hat/z again.png"}, (
        "which one stays is not a matter of history"
    )


def test_a_photo_in_two_categories_is_in_neither(tmp_path: Path) -> None:
    layout = project(tmp_path)
    shutil.copy(layout.catalog / "hat" / "002.png", layout.catalog / "shoe" / "also.png")
    catalog = ingest(PARAMS, layout)
    assert {bad.path: bad.reason for bad in catalog.quarantined} == {"hat/002.png": "CONFLICT", "shoe/also.png": "CONFLICT"}
    assert len(rows_of(layout)) == catalog.photos == sum(shard.rows for shard in catalog.shards) == 11


def test_near_duplicates_are_named_in_pairs(tmp_path: Path) -> None:
    layout, params = project(tmp_path), small_params(ingest={"side": 64, "duplicate_radius": 10})
    large = product(900, 120, 160)
    (layout.catalog / "hat" / "a.jpg").write_bytes(jpeg(large))
    ingest(params, layout)
    assert read_copies(layout.stage("ingest") / "copies.parquet").num_rows == 0
    (layout.catalog / "hat" / "b.jpg").write_bytes(jpeg(large, quality=60))
    (layout.catalog / "shoe" / "c.jpg").write_bytes(jpeg(large[:, ::-1], quality=80))
    ingest(params, layout)
    rows = rows_of(layout)
    ids = sorted(rows[name]["sha256"] for name in ("hat/a.jpg", "hat/b.jpg", "shoe/c.jpg"))
    pairs = read_copies(layout.stage("ingest") / "copies.parquet").to_pylist()
    assert [(row["a"], row["b"]) for row in pairs] == [(ids[0], ids[1]), (ids[0], ids[2]), (ids[1], ids[2])]
    (layout.catalog / "hat" / "b.jpg").unlink()
    ingest(params, layout)
    assert digests(layout.stage("ingest")) == from_nothing(layout, tmp_path / "fresh", params)
    assert read_copies(layout.stage("ingest") / "copies.parquet").num_rows == 1


def test_attributes_stand_in_the_manifest_by_their_kinds(tmp_path: Path) -> None:
    source = Synthetic(path="src", count=6, seed=1, size=32)
    params = small_params(ingest={"source": source, "attributes": {"colour": "label", "caption": "text"}})
    catalog = ingest(params, Layout(tmp_path))
    rows = rows_of(Layout(tmp_path))
    offered = {photo.name: photo for photo in source.photos(tmp_path)}
    assert [attribute.name for attribute in catalog.attributes] == ["colour", "caption"]
    assert {name: (row["colour"], row["caption"], row["sku"]) for name, row in rows.items()} == {
        name: (photo.attributes["colour"], photo.attributes["caption"], photo.sku) for name, photo in offered.items()
    }
    assert {row["format"] for row in rows.values()} == {"DRAWN"}


def test_transparency_shows_the_declared_background(tmp_path: Path) -> None:
    layout = project(tmp_path, photos=2)
    layers = np.zeros((20, 20, 4), dtype=np.uint8)
    layers[5:15, 5:15] = (200, 30, 30, 255)
    (layout.catalog / "hat" / "cut out.png").write_bytes(encode(Image.fromarray(layers), "PNG"))
    ingest(small_params(ingest={"background": "#0a141e"}), layout)
    row = rows_of(layout)["hat/cut out.png"]
    _, content = list(read_blobs(layout.stage("ingest"), str(row["shard"])))[int(str(row["row"]))]
    assert np.array_equal(decode_png(content)[0, 0], [10, 20, 30])


def test_a_catalogue_of_nothing_usable_is_rejected_with_the_counts(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    (layout.catalog / "hat").mkdir(parents=True)
    (layout.catalog / "hat" / "a.jpg").write_bytes(b"")
    (layout.catalog / "hat" / "b.jpg").write_bytes(b"text")
    with pytest.raises(DataRejected, match=r"no photo is left.*1 EMPTY, 1 NOT_AN_IMAGE"):
        ingest(PARAMS, layout)
    assert not (layout.stage("ingest") / "catalog.json").exists()


def test_a_missing_catalogue_is_a_mistake_of_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        ingest(PARAMS, Layout(tmp_path))


# --- a function of the source alone -----------------------------------------------------------------------------------------


def test_the_order_of_the_file_system_decides_nothing(tmp_path: Path) -> None:
    one = project(tmp_path / "one")
    files = [path.relative_to(one.catalog) for path in one.catalog.glob("*/*")]
    random.Random(5).shuffle(files)
    other = Layout(tmp_path / "other")
    for name in files:
        (other.catalog / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(one.catalog / name, other.catalog / name)
    assert ingest(PARAMS, one).digest == ingest(PARAMS, other).digest
    assert digests(one.stage("ingest")) == digests(other.stage("ingest"))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot bind a process to cores")
def test_the_number_of_processes_decides_nothing(tmp_path: Path) -> None:
    layout = project(tmp_path)
    cores = os.sched_getaffinity(0)
    ingest(PARAMS, layout)
    try:
        os.sched_setaffinity(0, {min(cores)})
        assert digests(layout.stage("ingest")) == from_nothing(layout, tmp_path / "fresh")
    finally:
        os.sched_setaffinity(0, cores)


@pytest.mark.servers
def test_a_cluster_of_two_workers_makes_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = project(tmp_path)
    (layout.catalog / "hat" / "cut.jpg").write_bytes(jpeg(product(1))[:300])
    straight = from_nothing(layout, tmp_path / "fresh")
    with scheduler(tmp_path) as address, worker(address, tmp_path / "one"), worker(address, tmp_path / "two"):
        monkeypatch.setenv("PACKSHOT_DASK", address)
        ingest(PARAMS, layout)
    assert digests(layout.stage("ingest")) == straight


def test_another_photo_name_or_category_is_another_catalogue(tmp_path: Path) -> None:
    layout = project(tmp_path, photos=2)
    seen = [ingest(PARAMS, layout).digest]
    (layout.catalog / "hat" / "000.png").rename(layout.catalog / "hat" / "renamed.png")
    seen.append(ingest(PARAMS, layout).digest)
    (layout.catalog / "hat" / "renamed.png").rename(layout.catalog / "shoe" / "renamed.png")
    seen.append(ingest(PARAMS, layout).digest)
    (layout.catalog / "shoe" / "renamed.png").write_bytes(png(product(500)))
    seen.append(ingest(PARAMS, layout).digest)
    assert len(set(seen)) == 4


def test_day_by_day_or_at_once_it_is_the_same(tmp_path: Path) -> None:
    layout, chances = project(tmp_path, photos=10), random.Random(3)
    for day in range(5):
        ingest(PARAMS, layout)
        files = sorted(layout.catalog.glob("*/*"))
        for number in range(6):
            (layout.catalog / "hat" / f"new {day} {number}.png").write_bytes(png(product(9000 + 10 * day + number, 40, 48)))
        for path in chances.sample(files, 3):
            path.unlink()
        again, other, broken, moved = chances.sample([path for path in files if path.exists()], 4)
        shutil.copy(again, layout.catalog / "hat" / f"again {day}{again.suffix}")
        shutil.copy(other, layout.catalog / "shoe" / f"other {day}{other.suffix}")
        broken.write_bytes(broken.read_bytes()[:200])
        moved.rename(layout.catalog / "hat" / f"moved {day}.jpg")
    ingest(PARAMS, layout)
    assert digests(layout.stage("ingest")) == from_nothing(layout, tmp_path / "fresh")
    reasons = {bad.reason for bad in Catalog.read(layout.stage("ingest") / "catalog.json").quarantined}
    assert reasons >= {"DUPLICATE", "CONFLICT", "TRUNCATED", "EXTENSION"}


def test_known_bytes_under_a_false_ending_are_refused_as_ever(tmp_path: Path) -> None:
    layout = project(tmp_path)
    ingest(PARAMS, layout)
    shutil.copy(layout.catalog / "hat" / "000.png", layout.catalog / "hat" / "false.jpg")
    bad = ingest(PARAMS, layout).quarantined
    assert [(one.path, one.reason) for one in bad] == [("hat/false.jpg", "EXTENSION")]
    assert digests(layout.stage("ingest")) == from_nothing(layout, tmp_path / "fresh")


# --- only what is new -------------------------------------------------------------------------------------------------------


def test_an_unchanged_catalogue_is_left_alone_and_said_to_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = project(tmp_path)
    catalog = ingest(PARAMS, layout)
    before = {path: path.stat().st_mtime_ns for path in layout.stage("ingest").iterdir()}
    with caplog.at_level(logging.INFO):
        assert ingest(PARAMS, layout) == catalog
    assert {path: path.stat().st_mtime_ns for path in layout.stage("ingest").iterdir()} == before
    assert "0 of them are new" in caplog.text
    assert "nothing has changed" in caplog.text


def test_one_more_photo_is_one_more_decoding_and_one_more_shard(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = project(tmp_path, photos=20)
    before = {shard.name for shard in ingest(PARAMS, layout).shards}
    (layout.catalog / "hat" / "new.png").write_bytes(png(product(777)))
    with caplog.at_level(logging.INFO):
        after = {shard.name for shard in ingest(PARAMS, layout).shards}
    assert "41 photos are offered, 1 of them are new" in caplog.text
    assert len(before) > 5
    assert len(after - before) <= 2, "the shard that it falls into, or the two that this one becomes"
    assert after == {path.name for path in layout.stage("ingest").glob("photos-*")}


def test_untouched_files_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, read = project(tmp_path), list[Encoded]()
    hashed = listing._digest
    monkeypatch.setattr(listing, "_digest", lambda content: (read.append(content), hashed(content))[1])
    ingest(PARAMS, layout)
    ingest(PARAMS, layout)
    assert len(read) == 12, "they are younger than two seconds, so that nobody can know whether they were modified again"
    for room in (listing, stamps):
        monkeypatch.setattr(room, "SETTLED_NS", -(10**12))
    ingest(PARAMS, layout)
    ingest(PARAMS, layout)
    assert len(read) == 24
    (layout.catalog / "hat" / "000.png").touch()
    ingest(PARAMS, layout)
    assert len(read) == 25


def test_another_recipe_begins_anew_and_another_radius_only_compares(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = project(tmp_path)
    ingest(PARAMS, layout)
    caplog.set_level(logging.INFO)
    for changes, new in (
        ({"side": 40}, 12),
        ({"side": 40, "duplicate_radius": 16}, 0),
        ({"side": 40, "background": "#000000"}, 12),
    ):
        caplog.clear()
        params = small_params(ingest=changes)
        ingest(params, layout)
        assert f"12 photos are offered, {new} of them are new" in caplog.text
        assert digests(layout.stage("ingest")) == from_nothing(layout, tmp_path / "-".join(changes), params)


@pytest.mark.parametrize("victim", ["photos", "manifest.parquet", "copies.parquet", "catalog.json"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_what_is_broken_is_made_again(tmp_path: Path, victim: str, harm: str) -> None:
    layout = project(tmp_path)
    catalog = ingest(PARAMS, layout)
    straight = digests(layout.stage("ingest"))
    path = layout.stage("ingest") / (catalog.shards[0].name if victim == "photos" else victim)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.unlink()
    if harm != "remove":
        path.write_bytes(content if harm == "flip" else content[: len(content) // 2])
    ingest(PARAMS, layout)
    assert digests(layout.stage("ingest")) == straight


# --- a world that moves -----------------------------------------------------------------------------------------------------


def test_what_is_recorded_of_a_file_is_what_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = project(tmp_path)
    hat = layout.catalog / "hat"

    def move(place: str) -> None:
        if place == "ingest.listed":
            (hat / "000.png").write_bytes(png(product(800)))
            (hat / "001.jpg").unlink()
            (hat / "0.png").write_bytes(png(product(801)))

    monkeypatch.setattr(module, "failpoint", move)
    catalog = ingest(PARAMS, layout)
    rows = rows_of(layout)
    assert rows["hat/000.png"]["sha256"] == hashlib.sha256(png(product(800))).hexdigest()
    assert [(bad.path, bad.reason) for bad in catalog.quarantined] == [("hat/001.jpg", "UNREADABLE")]
    assert "hat/0.png" not in rows, "it is the next ingest's"
    monkeypatch.setattr(module, "failpoint", lambda _: None)
    ingest(PARAMS, layout)
    assert digests(layout.stage("ingest")) == from_nothing(layout, tmp_path / "fresh")


@pytest.mark.parametrize("known", [False, True])
def test_a_broken_shard_of_a_packed_catalogue_stops_and_is_no_fault_of_its_photos(tmp_path: Path, known: bool) -> None:
    write_catalogue(tmp_path / "shop", photos=6)
    layout, params = Layout(tmp_path), small_params(ingest={"source": Packed(kind="catalog", path="data/catalog")})
    shop = Folder(kind="folder", path="shop")
    pack = pack_photos(shop, tmp_path, layout.catalog, stamps.Stamps(tmp_path / "stamps")).pack
    if known:
        ingest(params, layout)
    shard = layout.catalog / pack.shards[0].name
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :])
    with pytest.raises(IntegrityError, match=rf"its bytes have changed: .*{shard.name}: 'git restore"):
        ingest(params, layout)
    shard.write_bytes(whole)
    assert not ingest(params, layout).quarantined


def test_two_ingests_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = project(tmp_path)

    def meet(place: str) -> None:
        if place == "ingest.listed":
            with pytest.raises(Locked, match="another ingest"):
                ingest(PARAMS, layout)

    monkeypatch.setattr(module, "failpoint", meet)
    assert ingest(PARAMS, layout).photos == 12


# --- killed, and out of room ------------------------------------------------------------------------------------------------

PLACES = (
    *("ingest.listed", "ingest.spooled", "ingest.spooled:2", "ingest.copies", "ingest.shard", "ingest.shard:4"),
    *("ingest.manifest", "ingest.catalog", *(f"ingest.switched:{n}" for n in (1, 2, 3, 4)), "ingest.swept"),
)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], dict[str, str]]:
    """A project that was ingested and then given more photos; what its data/ingest holds before and after the second ingest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "SHARD_ROWS", 8)
        layout = project(tmp_path_factory.mktemp("versions"), photos=10)
        ingest(PARAMS, layout)
        old = digests(layout.stage("ingest"))
        for number in range(12):
            (layout.catalog / "hat" / f"new {number}.png").write_bytes(png(product(700 + number, 40, 48)))
        (layout.catalog / "hat" / "cut.jpg").write_bytes(jpeg(product(1))[:300])
        new = from_nothing(layout, layout.root / "fresh")
        shutil.rmtree(layout.root / "fresh")
    return layout.root, old, new


@pytest.mark.parametrize("place", PLACES)
def test_a_killed_ingest_shows_the_old_version_or_none_and_the_next_ends_in_the_same_bytes(
    tmp_path: Path, versions: tuple[Path, dict[str, str], dict[str, str]], place: str
) -> None:
    root, old, new = versions
    layout = Layout(tmp_path / "project")
    shutil.copytree(root, layout.root)
    folder = layout.stage("ingest")
    assert run_ingest(layout.root, PARAMS.ingest, f"{place}:kill") == -signal.SIGKILL
    found = digests(folder)
    if "catalog.json" in found:
        whole = new if found["catalog.json"] == new["catalog.json"] else old
        assert {name: found.get(name) for name in whole} == whole
        assert (whole is new) == (place in {"ingest.switched:4", "ingest.swept"})
    else:
        assert place.startswith("ingest.switched")
    ingest(PARAMS, layout)
    assert digests(folder) == new
    assert not [path for path in folder.iterdir() if path.is_dir()]


def test_what_a_killed_ingest_had_taken_in_is_not_taken_in_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = project(tmp_path, photos=10)
    (layout.catalog / "hat" / "0 cut.jpg").write_bytes(jpeg(product(1))[:300])
    assert run_ingest(layout.root, PARAMS.ingest, "ingest.spooled:3:kill") == -signal.SIGKILL
    assert not (layout.stage("ingest") / "catalog.json").exists()
    caplog.set_level(logging.INFO)
    ingest(PARAMS, layout)
    assert "21 photos are offered, 6 of them are new" in caplog.text
    assert digests(layout.stage("ingest")) == from_nothing(layout, tmp_path / "fresh")


FULL = """
import hashlib, sys
from pathlib import Path
from types import SimpleNamespace
from packshot.errors import OutOfResources
from packshot.layout import Layout
from packshot.sources import IngestParams, taking
from packshot.stages.ingest import ingest

def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}

if __name__ == "__main__":
    layout, params = Layout(Path(sys.argv[1])), SimpleNamespace(ingest=IngestParams.model_validate_json(sys.argv[2]))
    ingest(params, layout)
    before = digests(layout.stage("ingest"))
    (layout.root / "more").rename(layout.catalog / "more")
    if sys.argv[3] == "surprised":
        taking._MANIFEST_BYTES = taking._TYPICAL_PNG = 0
    try:
        ingest(params, layout)
    except OutOfResources as fault:
        assert digests(layout.stage("ingest")) == before, "nothing is left of the new version, and all of the old one"
        print(fault.line)
        sys.exit(fault.exit_code)
"""


@pytest.mark.parametrize("kind", ["warned", "surprised"])
def test_a_full_disk_leaves_the_old_version_and_says_what_is_needed(tmp_path: Path, kind: str) -> None:
    layout = Layout(tmp_path)
    write_catalogue(layout.catalog, photos=2)
    chances = np.random.default_rng(1)
    (tmp_path / "more").mkdir()
    for number in range(60):
        grain = chances.integers(0, 256, (128, 128, 3), dtype=np.uint8)
        (tmp_path / "more" / f"{number}.png").write_bytes(png(grain))
    folder = layout.stage("ingest")
    folder.mkdir()
    (tmp_path / "run.py").write_text(FULL)
    section = small_params(ingest={"side": 128}).ingest.model_dump_json()
    small = (
        f"mount -t tmpfs -o size=2m none '{folder}' || exit 99; exec '{sys.executable}' run.py '{tmp_path}' '{section}' {kind}"
    )
    done = subprocess.run(["unshare", "-rm", "sh", "-c", small], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    if done.returncode in {1, 99} and "Traceback" not in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 22, done.stderr
    assert "bytes are needed" in done.stdout
    assert "are free" in done.stdout
    assert ("to be taken in" in done.stdout) == (kind == "warned")
