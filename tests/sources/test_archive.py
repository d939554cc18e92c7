from __future__ import annotations

import io
import pickle
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from packshot.errors import DataRejected, UsageError
from packshot.images.decode import MAX_BYTES, PictureError
from packshot.records import BadPhoto
from packshot.sources.archive import Archive, Member
from packshot.sources.base import Photo
from tests.images.files import jpeg, product

CONTENT = jpeg(product(1))


def listed(root: Path, name: str, below: str = "") -> list[Photo | BadPhoto]:
    return list(Archive(kind="archive", path=name, below=below).photos(root))


def reasons(items: list[Photo | BadPhoto]) -> dict[str, str]:
    return {item.path: item.reason for item in items if isinstance(item, BadPhoto)}


def contents(items: list[Photo | BadPhoto]) -> dict[str, bytes]:
    read = {}
    for item in items:
        if isinstance(item, Photo):
            member = pickle.loads(pickle.dumps(item.content))
            assert isinstance(member, Member)
            read[item.name] = member.read()
    return read


def zipped(root: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(root / "shop.zip", "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return "shop.zip"


def tarred(root: Path, files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> str:
    with tarfile.open(root / "shop.tar", "w", format=form) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return "shop.tar"


TREE = {
    "shoe/b.JPEG": jpeg(product(2)),
    "hat/2024/a.jpg": CONTENT,
    "платье/ü 1.jpg": jpeg(product(3)),
    "hat/" + "long" * 60 + ".jpg": jpeg(product(4)),
}


@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_tree_is_read_where_it_lies(tmp_path: Path, make: object) -> None:
    litter = {"README.md": b"", "hat/notes.txt": b"", "__MACOSX/hat/._a.jpg": b"", "hat/.DS_Store": b"", "hat/Thumbs.db": b""}
    name = make(tmp_path, {**TREE, **litter})  # type: ignore[operator]
    found = listed(tmp_path, name)
    assert not reasons(found)
    assert contents(found) == TREE
    assert [item.category for item in found] == ["shoe", "hat", "платье", "hat"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_stored_and_deflated_members_are_read(tmp_path: Path, method: int) -> None:
    assert contents(listed(tmp_path, zipped(tmp_path, TREE, method))) == TREE


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_tar_is_read(tmp_path: Path, form: int) -> None:
    tree = {name: content for name, content in TREE.items() if len(name) < 100}
    assert contents(listed(tmp_path, tarred(tmp_path, tree, form))) == tree


def test_categories_may_lie_deeper(tmp_path: Path) -> None:
    name = zipped(tmp_path, {"shop/photos/hat/a.jpg": CONTENT, "shop/banner/b.jpg": CONTENT, "shop/photos/lost.jpg": CONTENT})
    found = listed(tmp_path, name, "shop/photos")
    assert list(contents(found)) == ["hat/a.jpg"]
    assert reasons(found) == {"lost.jpg": "NAME"}


def test_what_is_no_plain_photo_is_refused_by_name(tmp_path: Path) -> None:
    files = {
        "hat/a.jpg": CONTENT,
        "hat/a.gif": b"GIF89a",
        "lost.jpg": CONTENT,
        "/etc/evil.jpg": CONTENT,
        "hat/../../evil.jpg": CONTENT,
        " hat/b.jpg": CONTENT,
    }
    wanted = {
        "hat/a.gif": "FORMAT",
        "lost.jpg": "NAME",
        "/etc/evil.jpg": "PATH",
        "hat/../../evil.jpg": "PATH",
        " hat/b.jpg": "NAME",
    }
    for name in (zipped(tmp_path, files), tarred(tmp_path, files)):
        found = listed(tmp_path, name)
        assert reasons(found) == wanted
        assert contents(found) == {"hat/a.jpg": CONTENT}


def test_links_devices_and_pipes_in_a_tar_are_refused(tmp_path: Path) -> None:
    tarred(tmp_path, {"hat/a.jpg": CONTENT})
    kinds = {
        "sym": tarfile.SYMTYPE,
        "hard": tarfile.LNKTYPE,
        "char": tarfile.CHRTYPE,
        "block": tarfile.BLKTYPE,
        "pipe": tarfile.FIFOTYPE,
    }
    with tarfile.open(tmp_path / "shop.tar", "a") as archive:
        for kind, code in kinds.items():
            entry = tarfile.TarInfo(f"hat/{kind}.jpg")
            entry.type, entry.linkname = code, "/etc/passwd"
            archive.addfile(entry)
    found = listed(tmp_path, "shop.tar")
    assert contents(found) == {"hat/a.jpg": CONTENT}
    assert reasons(found) == {
        "hat/sym.jpg": "SYMLINK",
        "hat/hard.jpg": "SYMLINK",
        "hat/char.jpg": "SPECIAL_FILE",
        "hat/block.jpg": "SPECIAL_FILE",
        "hat/pipe.jpg": "SPECIAL_FILE",
    }


def test_links_and_odd_members_of_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "shop.zip", "w") as archive:
        for name, mode in (("hat/link.jpg", stat.S_IFLNK), ("hat/pipe.jpg", stat.S_IFIFO), ("hat/a.jpg", stat.S_IFREG)):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (mode | 0o644) << 16
            archive.writestr(entry, CONTENT)
        archive.writestr("hat/xz.jpg", CONTENT, zipfile.ZIP_LZMA)
        archive.writestr("hat/secret.jpg", CONTENT)
    raw = bytearray((tmp_path / "shop.zip").read_bytes())
    entry = raw.rindex(b"PK\x01\x02")
    raw[entry + 8] |= 1  # encrypted, says the directory
    (tmp_path / "shop.zip").write_bytes(raw)
    found = listed(tmp_path, "shop.zip")
    assert contents(found) == {"hat/a.jpg": CONTENT}
    assert reasons(found) == {
        "hat/link.jpg": "SYMLINK",
        "hat/pipe.jpg": "SPECIAL_FILE",
        "hat/xz.jpg": "UNREADABLE",
        "hat/secret.jpg": "UNREADABLE",
    }


def test_names_of_a_zip_are_read_as_their_makers_meant_them(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "shop.zip", "w") as archive:
        for name in ("hat/AA.jpg", "hat/BBB.jpg", "hat-CC.jpg"):
            archive.writestr(name, CONTENT)
    raw = (tmp_path / "shop.zip").read_bytes()
    for before, after in ((b"AA", "ü".encode()), (b"BBB", b"\x81BB"), (b"hat-CC", b"hat\\CC")):
        raw = raw.replace(before, after)
    (tmp_path / "shop.zip").write_bytes(raw)
    found = listed(tmp_path, "shop.zip")
    assert [item.name for item in found if isinstance(item, Photo)] == ["hat/ü.jpg", "hat/üBB.jpg", "hat/CC.jpg"]


def test_two_members_of_one_name_are_reported(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "shop.zip", "w") as archive:
        archive.writestr("hat/a.jpg", CONTENT)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("hat/a.jpg", jpeg(product(9)))
    found = listed(tmp_path, "shop.zip")
    assert contents(found) == {"hat/a.jpg": CONTENT}
    assert reasons(found) == {"hat/a.jpg": "NAME"}


# --- bombs and lies ---------------------------------------------------------------------------------------------------------


def test_a_bomb_is_refused_by_what_it_claims(tmp_path: Path) -> None:
    zipped(tmp_path, {f"hat/{index}.jpg": b"\0" * (40 << 20) for index in range(4)})
    assert (tmp_path / "shop.zip").stat().st_size < 1 << 20
    with pytest.raises(DataRejected, match=r"a bomb: 167,772,160 bytes in [\d,]+"):
        listed(tmp_path, "shop.zip")


def test_members_that_share_bytes_are_a_bomb(tmp_path: Path) -> None:
    zipped(tmp_path, {"hat/a.jpg": CONTENT, "hat/b.jpg": CONTENT}, zipfile.ZIP_STORED)
    raw = bytearray((tmp_path / "shop.zip").read_bytes())
    second = raw.rindex(b"PK\x01\x02")
    raw[second + 42 : second + 46] = struct.pack("<I", 0)  # both begin at the first one's header
    (tmp_path / "shop.zip").write_bytes(raw)
    with pytest.raises(DataRejected, match="its members share bytes"):
        listed(tmp_path, "shop.zip")


def test_one_huge_member_is_refused_unread(tmp_path: Path) -> None:
    zipped(tmp_path, {"hat/a.jpg": CONTENT, "hat/huge.jpg": b"\0" * 100})
    raw = bytearray((tmp_path / "shop.zip").read_bytes())
    entry = raw.rindex(b"PK\x01\x02")
    raw[entry + 24 : entry + 28] = struct.pack("<I", MAX_BYTES + 1)
    (tmp_path / "shop.zip").write_bytes(raw)
    found = listed(tmp_path, "shop.zip")
    assert reasons(found) == {"hat/huge.jpg": "TOO_LARGE"}
    assert contents(found) == {"hat/a.jpg": CONTENT}


@pytest.mark.parametrize("claimed", [50, 99, 101, 1000])
def test_a_member_that_is_not_as_large_as_claimed_is_refused(tmp_path: Path, claimed: int) -> None:
    zipped(tmp_path, {"hat/a.jpg": b"\0" * 100})
    raw = bytearray((tmp_path / "shop.zip").read_bytes())
    entry = raw.rindex(b"PK\x01\x02")
    raw[entry + 24 : entry + 28] = struct.pack("<I", claimed)
    (tmp_path / "shop.zip").write_bytes(raw)
    (photo,) = listed(tmp_path, "shop.zip")
    assert isinstance(photo, Photo)
    assert isinstance(photo.content, Member)
    with pytest.raises(PictureError) as caught:
        photo.content.read()
    assert caught.value.reason == "CORRUPT"


def test_a_flipped_bit_never_comes_through_a_zip(tmp_path: Path) -> None:
    zipped(tmp_path, {"hat/a.jpg": CONTENT}, zipfile.ZIP_STORED)
    raw = (tmp_path / "shop.zip").read_bytes()
    start = raw.index(CONTENT)
    (photo,) = listed(tmp_path, "shop.zip")
    for at in range(start, start + len(CONTENT), max(1, len(CONTENT) // 50)):
        broken = bytearray(raw)
        broken[at] ^= 4
        (tmp_path / "shop.zip").write_bytes(broken)
        with pytest.raises(PictureError):
            photo.content.read()  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["shop.zip", "shop.tar"])
def test_a_cut_archive_gives_its_whole_photos_or_is_refused(tmp_path: Path, name: str) -> None:
    files = {f"hat/{index}.jpg": jpeg(product(index)) for index in range(4)}
    (zipped if name.endswith("zip") else tarred)(tmp_path, files)
    whole = (tmp_path / name).read_bytes()
    for part in range(1, 20):
        (tmp_path / name).write_bytes(whole[: len(whole) * part // 20])
        try:
            found = listed(tmp_path, name)
        except DataRejected:
            continue
        for item in found:
            if isinstance(item, Photo):
                assert item.content.read() == files[item.name]  # type: ignore[union-attr]


def hostile_header(kind: str) -> bytes:
    """A tar whose headers say what no tool writes."""
    entry = tarfile.TarInfo("hat/a.jpg")
    if kind == "names upon names":
        entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 4
        return (entry.tobuf(tarfile.GNU_FORMAT) + b"abc\0".ljust(512, b"\0")) * 5_000
    entry.pax_headers = {
        "less than no bytes": {"size": "-512"},
        "words for numbers": {"GNU.sparse.map": "1,x"},
        "half a version": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "x"},
    }[kind]
    return entry.tobuf(tarfile.PAX_FORMAT) + bytes(512)


@pytest.mark.parametrize("kind", ["less than no bytes", "words for numbers", "half a version", "names upon names"])
def test_headers_that_no_tool_writes_end_the_listing_of_a_tar(tmp_path: Path, kind: str) -> None:
    (tmp_path / "shop.tar").write_bytes(hostile_header(kind) + bytes(1024))
    with pytest.raises(DataRejected, match="not a whole archive"):
        next(iter(Archive(kind="archive", path="shop.tar").photos(tmp_path)))


def test_a_name_in_a_zip_that_lies_about_being_utf8_is_no_traceback(tmp_path: Path) -> None:
    zipped(tmp_path, {"hat/ü.jpg": CONTENT})
    raw = (tmp_path / "shop.zip").read_bytes()
    (tmp_path / "shop.zip").write_bytes(raw.replace("ü".encode(), b"\xff\xfe"))
    with pytest.raises(DataRejected, match="not a whole archive"):
        listed(tmp_path, "shop.zip")


def test_compressed_tars_are_refused_with_advice(tmp_path: Path) -> None:
    for name, mode in (("shop.tar.gz", "w:gz"), ("shop.tar.bz2", "w:bz2"), ("shop.tar.xz", "w:xz"), ("lies.tar", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as archive:  # type: ignore[call-overload]
            archive.addfile(tarfile.TarInfo("hat/a.jpg"), io.BytesIO())
        with pytest.raises(UsageError, match=r"compressed tar.*gunzip.*\.zip"):
            listed(tmp_path, name)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"\0" * 10_240, b"words", zlib.compress(b"x" * 1000), b"PK\x05\x06" + b"\xff" * 18]
)
def test_what_is_no_archive_is_said_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "shop.zip").write_bytes(content)
    with pytest.raises(DataRejected):
        listed(tmp_path, "shop.zip")
    with pytest.raises(UsageError, match="no such archive"):
        listed(tmp_path, "absent.zip")


def test_an_archive_without_photos_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match="holds no photo"):
        listed(tmp_path, zipped(tmp_path, {"readme.txt": b""}))


def test_a_member_is_known_by_its_archive_s_stamp(tmp_path: Path) -> None:
    zipped(tmp_path, {"hat/a.jpg": CONTENT, "hat/b.jpg": jpeg(product(5))})
    before = [item.content.stamp() for item in listed(tmp_path, "shop.zip")]  # type: ignore[union-attr]
    assert before == [item.content.stamp() for item in listed(tmp_path, "shop.zip")]  # type: ignore[union-attr]
    zipped(tmp_path, {"hat/a.jpg": CONTENT, "hat/b.jpg": jpeg(product(6))})
    assert not set(before) & {item.content.stamp() for item in listed(tmp_path, "shop.zip")}  # type: ignore[union-attr]


def test_photos_of_one_name_and_size_in_two_folders_of_an_archive_are_told_apart(tmp_path: Path) -> None:
    zipped(tmp_path, {"spring/hat/a.jpg": CONTENT, "autumn/hat/a.jpg": CONTENT[::-1]}, zipfile.ZIP_STORED)
    (spring,), (autumn,) = (listed(tmp_path, "shop.zip", below) for below in ("spring", "autumn"))
    assert isinstance(spring, Photo)
    assert isinstance(autumn, Photo)
    assert spring.name == autumn.name
    assert spring.content.stamp() != autumn.content.stamp()  # type: ignore[union-attr]
