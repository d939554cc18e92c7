from __future__ import annotations

import hashlib
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from packshot.errors import DataRejected, UsageError
from packshot.images.fingerprint import pixel_digest
from packshot.images.manifest import read_manifest, read_photos
from packshot.images.sheet import decode_png
from packshot.layout import Layout
from packshot.records import Catalog
from packshot.stages import ingest as module
from packshot.stages.ingest import ingest
from tests.images.files import animated, encode, jpeg, png, product
from tests.stages.catalogues import small_params, write_catalogue

PARAMS = small_params()


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def project(root: Path, photos: int = 6) -> Layout:
    write_catalogue(root / "data" / "catalog", photos=photos)
    return Layout(root)


def test_every_photo_stands_in_the_manifest_and_in_a_shard(tmp_path: Path) -> None:
    layout = project(tmp_path)
    catalog = ingest(PARAMS, layout)
    rows = read_manifest(layout.stage("ingest") / "manifest.parquet")
    assert catalog == Catalog.read(layout.stage("ingest") / "catalog.json")
    assert (catalog.photos, catalog.quarantined, catalog.source) == (12, (), "folder data/catalog")
    assert {count.category: count.photos for count in catalog.counts} == {"hat": 6, "shoe": 6}
    shards = {shard: list(read_photos(layout.stage("ingest") / shard)) for shard in catalog.shards}
    for row in rows:
        sha256, content = shards[row.shard][row.row]
        pixels = decode_png(content)
        assert sha256 == row.sha256 == hashlib.sha256((layout.catalog / row.path).read_bytes()).hexdigest()
        assert pixel_digest(pixels) == row.pixels
        assert max(pixels.shape[:2]) == catalog.side == 32
        assert (row.width, row.height) == (40, 48)


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


def test_a_photo_in_two_categories_is_in_neither(tmp_path: Path) -> None:
    layout = project(tmp_path)
    shutil.copy(layout.catalog / "hat" / "002.png", layout.catalog / "shoe" / "also.png")
    catalog = ingest(PARAMS, layout)
    rows = read_manifest(layout.stage("ingest") / "manifest.parquet")
    assert {bad.path: bad.reason for bad in catalog.quarantined} == {"hat/002.png": "CONFLICT", "shoe/also.png": "CONFLICT"}
    assert len(rows) == catalog.photos == 11
    photos = {shard: list(read_photos(layout.stage("ingest") / shard)) for shard in catalog.shards}
    assert sum(map(len, photos.values())) == 11
    assert all(photos[row.shard][row.row][0] == row.sha256 for row in rows)


def test_photos_go_on_over_several_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = project(tmp_path)
    whole = ingest(PARAMS, layout)
    monkeypatch.setattr(module, "SHARD_PHOTOS", 5)
    parts = ingest(PARAMS, layout)
    assert parts.shards == ("photos-00000.parquet", "photos-00001.parquet", "photos-00002.parquet")
    assert parts.digest == whole.digest
    rows = read_manifest(layout.stage("ingest") / "manifest.parquet")
    photos = {shard: list(read_photos(layout.stage("ingest") / shard)) for shard in parts.shards}
    assert all(photos[row.shard][row.row][0] == row.sha256 for row in rows)


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


def test_a_killed_ingest_run_again_ends_in_the_same_bytes(tmp_path: Path) -> None:
    layout = project(tmp_path, photos=40)
    ingest(PARAMS, layout)
    straight = digests(layout.stage("ingest"))
    program = tmp_path / "run.py"
    program.write_text(
        "import sys\nfrom pathlib import Path\nfrom types import SimpleNamespace\nfrom packshot.layout import Layout\n"
        "from packshot.sources import IngestParams\nfrom packshot.stages import ingest as module\n"
        "if __name__ == '__main__':\n    module.SHARD_PHOTOS = 20\n"
        "    section = IngestParams.model_validate_json(sys.argv[2])\n"
        "    module.ingest(SimpleNamespace(ingest=section), Layout(Path(sys.argv[1])))\n"
    )
    shutil.rmtree(layout.stage("ingest"))
    process = subprocess.Popen([sys.executable, program, tmp_path, PARAMS.ingest.model_dump_json()], start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(layout.stage("ingest").glob("photos-*.parquet")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(layout.stage("ingest").iterdir())
    ingest(PARAMS, layout)
    assert digests(layout.stage("ingest")) == straight


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


def test_transparency_shows_the_declared_background(tmp_path: Path) -> None:
    layout = project(tmp_path, photos=2)
    (layout.catalog / "hat" / "cut out.png").write_bytes(_cut_out())
    ingest(small_params(ingest={"background": "#0a141e"}), layout)
    rows = read_manifest(layout.stage("ingest") / "manifest.parquet")
    row = next(row for row in rows if row.path == "hat/cut out.png")
    _, content = list(read_photos(layout.stage("ingest") / row.shard))[row.row]
    assert np.array_equal(decode_png(content)[0, 0], [10, 20, 30])


def _cut_out() -> bytes:
    from PIL import Image

    layers = np.zeros((20, 20, 4), dtype=np.uint8)
    layers[5:15, 5:15] = (200, 30, 30, 255)
    return encode(Image.fromarray(layers), "PNG")
