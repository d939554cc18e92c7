from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packshot.errors import DataRejected, IntegrityError, OutOfResources, UsageError
from packshot.images.decode import PictureError
from packshot.records import BadPhoto
from packshot.sources.archive import Archive
from packshot.sources.base import Encoded, File, Photo
from packshot.sources.detect import Columns, detect_import, detect_source, suggest_kinds
from packshot.sources.folder import Folder
from packshot.sources.packed import Packed, read_pack
from packshot.sources.packing import Packing, pack_photos
from packshot.sources.stamps import Stamps
from packshot.sources.synthetic import Synthetic
from packshot.sources.table import Table


def put(root: Path, **photos: str) -> None:
    """Files of the shop, by name without its ending."""
    for name, content in photos.items():
        path = root / "shop" / f"{name.replace('_', '/')}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
        os.utime(path, (1, 1))


FOLDER = Folder(kind="folder", path="shop")
PACKED = Packed(kind="catalog", path="data/catalog")


def add(root: Path, source: Folder | Table | Archive | Synthetic = FOLDER, *, merge: bool = False) -> Packing:
    return pack_photos(source, root, root / "data" / "catalog", Stamps(root / "stamps"), merge=merge)


def read(root: Path) -> dict[str, bytes]:
    """All photos of the pack, each checked against its sha256."""
    found = {}
    for item in Packed(kind="catalog", path="data/catalog").photos(root):
        assert isinstance(item, Photo)
        assert isinstance(item.content, Encoded)
        found[item.name] = item.content.read()
        assert hashlib.sha256(found[item.name]).hexdigest() == item.sha256
    return found


def generations(root: Path) -> dict[str, int]:
    items = Packed(kind="catalog", path="data/catalog").photos(root)
    return {item.name: item.generation for item in items if isinstance(item, Photo)}


def state(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "data").rglob("*") if path.is_file()}


def told(packing: Packing) -> tuple[int, int, int, int]:
    return packing.added, packing.removed, packing.changed, packing.unchanged


def test_photos_come_back_as_they_were(tmp_path: Path) -> None:
    put(tmp_path, hat_a="one", hat_b="two", shoe_c="three", shoe_copy="one")
    packing = add(tmp_path)
    assert (told(packing), packing.is_new, packing.pack.generation) == ((4, 0, 0, 0), True, 1)
    assert [(one.category, one.photos) for one in packing.pack.counts] == [("hat", 2), ("shoe", 2)]
    assert sum(shard.rows for shard in packing.pack.shards) == 3
    assert read(tmp_path) == {"hat/a.jpg": b"one", "hat/b.jpg": b"two", "shoe/c.jpg": b"three", "shoe/copy.jpg": b"one"}
    assert {item.content.suffix for item in Packed(kind="catalog", path="data/catalog").photos(tmp_path)} == {".jpg"}  # type: ignore[union-attr]


def test_the_same_photos_again_change_not_one_byte(tmp_path: Path) -> None:
    put(tmp_path, hat_a="one", shoe_c="three")
    add(tmp_path)
    before = state(tmp_path)
    packing = add(tmp_path)
    assert (told(packing), packing.is_new, packing.pack.generation) == ((0, 0, 0, 2), False, 1)
    (tmp_path / "stamps").unlink()
    assert not add(tmp_path).is_new
    assert state(tmp_path) == before


def test_a_photo_keeps_the_generation_in_which_its_bytes_came(tmp_path: Path) -> None:
    put(tmp_path, hat_a="one", hat_b="two", hat_c="three")
    add(tmp_path)
    put(tmp_path, hat_b="two, again", hat_d="four")
    (tmp_path / "shop/hat/a.jpg").rename(tmp_path / "shop/hat/moved.jpg")
    (tmp_path / "shop/hat/c.jpg").unlink()
    packing = add(tmp_path)
    assert told(packing) == (2, 2, 1, 0)
    assert packing.pack.generation == 2
    assert generations(tmp_path) == {"hat/moved.jpg": 1, "hat/b.jpg": 2, "hat/d.jpg": 2}
    (tmp_path / "shop/hat/d.jpg").unlink()
    assert add(tmp_path).pack.generation == 3
    assert generations(tmp_path) == {"hat/moved.jpg": 1, "hat/b.jpg": 2}


def test_merged_photos_come_beside_those_that_are_there(tmp_path: Path) -> None:
    put(tmp_path, hat_a="one", hat_b="two")
    add(tmp_path)
    shutil.rmtree(tmp_path / "shop")
    put(tmp_path, hat_b="new two", shoe_c="three")
    packing = add(tmp_path, merge=True)
    assert told(packing) == (1, 0, 1, 1)
    assert read(tmp_path) == {"hat/a.jpg": b"one", "hat/b.jpg": b"new two", "shoe/c.jpg": b"three"}
    assert generations(tmp_path) == {"hat/a.jpg": 1, "hat/b.jpg": 2, "shoe/c.jpg": 2}
    assert not add(tmp_path, merge=True).is_new
    assert told(add(tmp_path)) == (0, 1, 0, 2)


def test_what_was_refused_stays_named(tmp_path: Path) -> None:
    put(tmp_path, hat_a="one")
    (tmp_path / "shop/hat/link.jpg").symlink_to("a.jpg")
    (tmp_path / "shop/hat/b.gif").write_bytes(b"GIF89a")
    packing = add(tmp_path)
    assert packing.refused == (("FORMAT", 1), ("SYMLINK", 1))
    items = list(Packed(kind="catalog", path="data/catalog").photos(tmp_path))
    refused = [(item.path, item.category, item.reason) for item in items if isinstance(item, BadPhoto)]
    assert refused == [("hat/b.gif", "hat", "FORMAT"), ("hat/link.jpg", "hat", "SYMLINK")]
    assert not add(tmp_path).is_new


def test_a_catalogue_of_which_nothing_is_left_is_refused_and_the_old_one_stays(tmp_path: Path) -> None:
    put(tmp_path, hat_a="one")
    add(tmp_path)
    before = state(tmp_path)
    (tmp_path / "shop/hat/a.jpg").unlink()
    (tmp_path / "shop/hat/link.jpg").symlink_to("a.jpg")
    with pytest.raises(DataRejected, match=r"no photo can be taken.*1 SYMLINK; the first: hat/\S+: "):
        add(tmp_path)
    assert state(tmp_path) == before


def test_only_files_that_were_touched_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, hat_a="one", hat_b="two", hat_c="three")
    _settle(monkeypatch)
    add(tmp_path)
    seen: list[str] = []
    whole = File.read

    def note(file: File) -> bytes:
        seen.append(file.path.name)
        return whole(file)

    monkeypatch.setattr(File, "read", note)
    add(tmp_path)
    assert seen == []
    put(tmp_path, hat_b="new two", hat_d="four")
    assert told(add(tmp_path)) == (1, 0, 1, 2)
    assert seen == ["b.jpg", "d.jpg"]
    assert read(tmp_path)["hat/b.jpg"] == b"new two"


def test_a_change_within_the_clock_s_grain_is_seen(tmp_path: Path) -> None:
    put(tmp_path, hat_a="one")
    add(tmp_path)
    (tmp_path / "shop/hat/a.jpg").write_bytes(b"two")
    assert told(add(tmp_path)) == (0, 0, 1, 0)
    assert read(tmp_path) == {"hat/a.jpg": b"two"}


def _settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were written just now count as settled: a test cannot wait for two seconds to pass."""
    monkeypatch.setattr("packshot.sources.stamps.SETTLED_NS", -(10**18))


def test_a_damaged_index_of_stamps_costs_time_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, hat_a="one", hat_b="two")
    _settle(monkeypatch)
    add(tmp_path)
    index = tmp_path / "stamps"
    for content in (b"", b"x", index.read_bytes()[:-1], bytes([index.read_bytes()[0] ^ 1]) + index.read_bytes()[1:]):
        index.write_bytes(content)
        assert not add(tmp_path).is_new
    assert read(tmp_path) == {"hat/a.jpg": b"one", "hat/b.jpg": b"two"}


def test_stamps_forget_files_that_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, **{f"hat_{index}": str(index) for index in range(20)})
    _settle(monkeypatch)
    add(tmp_path)
    large = (tmp_path / "stamps").stat().st_size
    for index in range(15):
        (tmp_path / f"shop/hat/{index}.jpg").unlink()
    add(tmp_path)
    assert (tmp_path / "stamps").stat().st_size == large - 15 * 48 + 48  # the shard is known now


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    deliveries=st.lists(
        st.dictionaries(st.integers(0, 30).map(lambda index: f"hat_{index}"), st.integers(0, 40).map(str), min_size=1),
        min_size=1,
        max_size=4,
    )
)
def test_shards_depend_on_the_photos_alone_however_they_came(
    tmp_path_factory: pytest.TempPathFactory, deliveries: list[dict[str, str]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("packshot.images.store.SHARD_ROWS", 4)
        roots = [tmp_path_factory.mktemp("grown"), tmp_path_factory.mktemp("at-once")]
        for delivery in deliveries:
            shutil.rmtree(roots[0] / "shop", ignore_errors=True)
            put(roots[0], **delivery)
            add(roots[0])
        put(roots[1], **deliveries[-1])
        add(roots[1])
        grown, at_once = (read_pack(root / "data" / "catalog") for root in roots)
        assert grown.shards == at_once.shards
        assert (
            read(roots[0])
            == read(roots[1])
            == {f"{name.replace('_', '/')}.jpg": text.encode() for name, text in deliveries[-1].items()}
        )
        names = {shard.name for shard in grown.shards} | {grown.index.name, "pack.json"}
        assert set(state(roots[0])) == names


def run_add(root: Path, point: str = "") -> int:
    """Add in a process of its own, which may be killed at a failpoint: its exit status, or the signal that ended it."""
    child = os.fork()
    if child == 0:
        os.environ["PACKSHOT_FAILPOINT"] = point
        try:
            add(root)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_kill_anywhere_leaves_the_old_pack_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packshot.images.store.SHARD_ROWS", 4)
    first = {f"hat_{index}": f"photo {index}" for index in range(30)}
    second = {
        **{f"hat_{index}": f"photo {index}" for index in range(5, 30)},
        **{f"shoe_{index}": f"shoe {index}" for index in range(8)},
    }
    put(tmp_path, **first)
    assert run_add(tmp_path) == 0
    old = read(tmp_path)
    shutil.copytree(tmp_path / "data", tmp_path / "old")
    shutil.rmtree(tmp_path / "shop")
    put(tmp_path, **second)
    assert run_add(tmp_path) == 0
    new, wanted = read(tmp_path), state(tmp_path)
    for point in ("catalog.shard:1", "catalog.shard:4", "catalog.index:1", "catalog.record:1"):
        shutil.rmtree(tmp_path / "data")
        shutil.copytree(tmp_path / "old", tmp_path / "data")
        assert run_add(tmp_path, f"{point}:kill") == -signal.SIGKILL, point
        assert read(tmp_path) == (new if point.startswith("catalog.record") else old), point
        assert run_add(tmp_path) == 0
        assert state(tmp_path) == wanted, point


ADD = """
import sys
from pathlib import Path
from packshot.errors import PackshotError
from packshot.sources.folder import Folder
from packshot.sources.packing import pack_photos
from packshot.sources.stamps import Stamps
root = Path(sys.argv[1])
try:
    pack_photos(Folder(kind="folder", path="shop"), root, root / "data" / "catalog", Stamps(root / "stamps"))
except PackshotError as error:
    sys.exit(f"{error.line} (exit {error.exit_code})")
"""

FULL = """
set -e
mount -t tmpfs -o size=1m none "$1/data"
cp -r "$1/old/catalog" "$1/data/catalog"
"$2" -c "$3" "$1" 2> "$1/said" || true
mkdir "$1/after"
cp -r "$1/data/." "$1/after/"
"""


@pytest.mark.parametrize("size", [700_000, 3_000_000])
def test_a_full_disk_is_told_and_the_old_pack_stays(tmp_path: Path, size: int) -> None:
    put(tmp_path, hat_a="one", hat_b="two")
    add(tmp_path)
    before = state(tmp_path)
    (tmp_path / "data").rename(tmp_path / "old")
    (tmp_path / "data").mkdir()
    (tmp_path / "shop/hat/large.jpg").write_bytes(os.urandom(size))
    words = ["unshare", "-rm", "sh", "-c", FULL, "sh", str(tmp_path), sys.executable, ADD]
    if shutil.which("unshare") is None or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("this system mounts no disk of one's own")
    said = (tmp_path / "said").read_text()
    assert "(exit 22)" in said, said
    assert "bytes are needed" in said
    assert "are free" in said
    assert {path.name: path.read_bytes() for path in (tmp_path / "after").rglob("*") if path.is_file()} == before


def test_a_pack_that_is_not_intact_is_said_so(tmp_path: Path) -> None:
    put(tmp_path, hat_a="one", hat_b="two")
    pack = add(tmp_path).pack
    folder = tmp_path / "data" / "catalog"
    shard = folder / pack.shards[0].name
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    for act in (add, read):
        with pytest.raises(IntegrityError, match=r"not intact.*git restore .*dvc checkout"):
            act(tmp_path)
    flipped = bytearray(whole)
    flipped[whole.index(b"one")] ^= 1
    shard.write_bytes(flipped)
    for act in (add, lambda root: PACKED.require_intact(root, Stamps(root / "stamps"))):
        with pytest.raises(IntegrityError, match=rf"its bytes have changed: .*{shard.name}: 'git restore"):
            act(tmp_path)
    with pytest.raises(PictureError, match="UNREADABLE"):
        read(tmp_path)
    shard.write_bytes(whole)
    (folder / pack.index.name).write_bytes(b"")
    with pytest.raises(IntegrityError, match="not intact"):
        read(tmp_path)


def test_what_is_no_pack_is_never_overwritten(tmp_path: Path) -> None:
    put(tmp_path, hat_a="one")
    with pytest.raises(UsageError, match=r"there is no packed catalogue.*packshot catalog add"):
        read(tmp_path)
    (tmp_path / "data/catalog/hat").mkdir(parents=True)
    (tmp_path / "data/catalog/hat/old.jpg").write_bytes(b"a tree")
    with pytest.raises(UsageError, match="something else than a packed catalogue: hat"):
        add(tmp_path)
    with pytest.raises(UsageError, match="a tree of photos is 'kind: folder'"):
        read(tmp_path)
    assert state(tmp_path) == {"old.jpg": b"a tree"}
    with pytest.raises(UsageError, match="drawn photos"):
        add(tmp_path / "other", Synthetic(path="src", count=1))


# --- tables and archives ----------------------------------------------------------------------------------------------------


CSV = """file,category,sku,colour,price,made,sold,caption,licence,expires
hat/a.jpg,hat,1,red,12.5,2024-01-02,yes,a red hat,CC0,2030-01-01
hat/b.jpg,hat,2,red,7,2024-01-02,no,another red hat,CC0,
shoe/c.jpg,shoe,2,blue,,,no,one shoe,CC0,
shoe/d.jpg,shoe,3,blue,8,2024-01-03,no,two shoes,CC0,
"""


def test_a_table_keeps_all_that_it_knows_and_its_kinds_are_suggested(tmp_path: Path) -> None:
    put(tmp_path, hat_a="one", hat_b="two", shoe_c="three", shoe_d="four")
    (tmp_path / "shop/products.csv").write_text(CSV)
    source = detect_source(tmp_path / "shop/products.csv", Columns())
    assert isinstance(source, Table)
    assert (source.image, source.category, source.sku, source.licence, source.expiry) == (
        "file",
        "category",
        "sku",
        "licence",
        "expires",
    )
    packing = add(tmp_path, source)
    assert suggest_kinds(tmp_path / "data/catalog", packing.pack) == {
        "caption": "text",
        "colour": "label",
        "made": "date",
        "price": "number",
        "sold": "flag",
    }
    listed = {item.name: item for item in source.photos(tmp_path) if isinstance(item, Photo)}
    packed = {item.name: item for item in Packed(kind="catalog", path="data/catalog").photos(tmp_path) if isinstance(item, Photo)}
    assert packed.keys() == listed.keys()
    for name, photo in packed.items():
        one = listed[name]
        assert (photo.category, photo.sku, photo.rights) == (one.category, one.sku, one.rights)
        assert photo.attributes == one.attributes
    assert Packed(kind="catalog", path="data/catalog").attribute_names(tmp_path) == source.attribute_names(tmp_path)


def test_something_new_that_is_said_of_a_photo_is_a_change(tmp_path: Path) -> None:
    put(tmp_path, hat_a="one", hat_b="two", shoe_c="three", shoe_d="four")
    (tmp_path / "shop/products.csv").write_text(CSV)
    source = detect_source(tmp_path / "shop/products.csv", Columns())
    shards = add(tmp_path, source).pack.shards
    (tmp_path / "shop/products.csv").write_text(CSV.replace("12.5", "11").replace("shoe/c.jpg,shoe,2", "shoe/c.jpg,boot,2"))
    packing = add(tmp_path, source)
    assert told(packing) == (0, 0, 2, 2)
    assert packing.pack.shards == shards
    assert packing.pack.generation == 2
    assert set(generations(tmp_path).values()) == {1}


def test_an_archive_is_packed_without_being_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "shop.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("photos/hat/a.jpg", b"one")
        archive.writestr("photos/shoe/b.jpg", b"two")
    source = detect_source(tmp_path / "shop.zip", Columns(), below="photos")
    add(tmp_path, source)
    assert read(tmp_path) == {"hat/a.jpg": b"one", "shoe/b.jpg": b"two"}
    assert not add(tmp_path, source).is_new


def test_a_source_that_cannot_be_guessed_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("bild;art\na.jpg;hat\n")
    with pytest.raises(UsageError, match=r"which column is the image.*--image COLUMN; the columns are bild, art"):
        detect_source(tmp_path / "one.csv", Columns())
    source = detect_source(tmp_path / "one.csv", Columns(image="bild", category="art"))
    assert isinstance(source, Table)
    with pytest.raises(UsageError, match="no such folder, table or archive"):
        detect_source(tmp_path / "absent", Columns())
    with pytest.raises(UsageError, match="--sku is of a table"):
        detect_source(tmp_path, Columns(sku="id"))
    for place in (tmp_path, tmp_path / "one.csv"):
        with pytest.raises(UsageError, match="--below is of an archive"):
            detect_source(place, Columns(), below="shop")
    imported = detect_import(tmp_path, Columns(image="bild", category="art"), below="", path="data/import")
    assert imported == Table(kind="table", path="data/import", table="one.csv", image="bild", category="art")


def test_a_disk_without_room_for_the_shards_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, hat_a="one")
    monkeypatch.setattr("packshot.sources.arrivals.disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(OutOfResources, match="at least 6 bytes are needed, 1 are free"):
        add(tmp_path)
    assert state(tmp_path) == {}
