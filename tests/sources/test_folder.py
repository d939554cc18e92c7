from __future__ import annotations

import logging
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.errors import DataRejected, UsageError
from packshot.records import BadPhoto
from packshot.sources.base import Photo
from packshot.sources.folder import Folder, escape


def listed(root: Path) -> list[Photo | BadPhoto]:
    return list(Folder(kind="folder", path="catalog").photos(root))


def put(root: Path, *names: str | bytes) -> None:
    for name in names:
        path = root / "catalog" / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content")


def reasons(items: list[Photo | BadPhoto]) -> dict[str, str]:
    return {item.path: item.reason for item in items if isinstance(item, BadPhoto)}


def photos(items: list[Photo | BadPhoto]) -> list[tuple[str, str]]:
    return [(item.name, item.category) for item in items if isinstance(item, Photo)]


def test_the_first_level_is_the_category_however_deep_a_photo_lies(tmp_path: Path) -> None:
    put(tmp_path, "hat/a.jpg", "hat/2024/spring/b.JPEG", "shoe/c.png", "shoe/d.WebP")
    assert photos(listed(tmp_path)) == [
        ("hat/2024/spring/b.JPEG", "hat"),
        ("hat/a.jpg", "hat"),
        ("shoe/c.png", "shoe"),
        ("shoe/d.WebP", "shoe"),
    ]


def test_the_order_is_that_of_names_not_of_the_file_system(tmp_path: Path) -> None:
    names = [f"{category}/{index}.jpg" for category in "zab" for index in (3, 1, 2)]
    put(tmp_path, *names)
    assert [name for name, _ in photos(listed(tmp_path))] == sorted(names)


@pytest.mark.parametrize(
    "name", ["платье", "ドレス", "فستان", "שמלה", "robe d'été", "t-shirt & co", "👗", "50% off", "a,b;c", "'quoted'"]
)
def test_names_of_any_script_are_taken(tmp_path: Path, name: str) -> None:
    put(tmp_path, f"{name}/{name} 1.jpg")
    assert photos(listed(tmp_path)) == [(f"{name}/{name} 1.jpg", name)]


def test_names_are_the_same_on_every_file_system(tmp_path: Path) -> None:
    put(tmp_path, unicodedata.normalize("NFD", "été/é.jpg"))
    assert photos(listed(tmp_path)) == [(unicodedata.normalize("NFC", "été/é.jpg"), unicodedata.normalize("NFC", "été"))]


def test_two_spellings_of_one_name_are_reported(tmp_path: Path) -> None:
    put(tmp_path, *(f"hat/{unicodedata.normalize(form, 'é')}.jpg" for form in ("NFC", "NFD")))
    found = listed(tmp_path)
    assert len(photos(found)) == 1
    assert list(reasons(found).values()) == ["NAME"]


def test_categories_that_differ_in_case_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "Hat/a.jpg", "hat/a.jpg")
    with caplog.at_level(logging.WARNING):
        assert len(photos(listed(tmp_path))) == 2
    assert "differ only in case" in caplog.text


def test_what_is_no_photo_is_passed_over_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(
        tmp_path,
        "hat/a.jpg",
        "hat/Thumbs.db",
        "hat/.DS_Store",
        "hat/notes.txt",
        "hat/prices.csv",
        "README.md",
        "__MACOSX/x.jpg",
        ".git/x.jpg",
    )
    with caplog.at_level(logging.INFO):
        found = listed(tmp_path)
    assert photos(found) == [("hat/a.jpg", "hat")]
    assert not reasons(found)
    assert all(name in caplog.text for name in ("Thumbs.db", "notes.txt", "prices.csv", "README.md", "__MACOSX"))


def test_many_files_that_are_no_photos_make_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "hat/a.jpg", *(f"hat/{index:02d}.txt" for index in range(40)))
    with caplog.at_level(logging.INFO):
        listed(tmp_path)
    (line,) = caplog.messages
    assert line.startswith("passed over, not photos: hat/00.txt, hat/01.txt")
    assert line.endswith(" and 30 more")


def test_pictures_of_other_formats_are_refused_by_name(tmp_path: Path) -> None:
    names = [f"hat/a{suffix}" for suffix in (".gif", ".HEIC", ".tiff", ".avif", ".cr2", ".svg")]
    put(tmp_path, *names)
    assert reasons(listed(tmp_path)) == dict.fromkeys(names, "FORMAT")


def test_a_photo_outside_every_category_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "lost.jpg", "hat/a.jpg")
    assert reasons(listed(tmp_path)) == {"lost.jpg": "NAME"}


def test_links_and_pipes_are_named_and_never_followed(tmp_path: Path) -> None:
    put(tmp_path, "hat/a.jpg")
    hat = tmp_path / "catalog" / "hat"
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(b"secret")
    (hat / "file.jpg").symlink_to(outside / "secret.jpg")
    (hat / "folder").symlink_to(outside)
    (hat / "broken.jpg").symlink_to("nowhere")
    (hat / "loop").symlink_to(hat)
    (tmp_path / "catalog" / "linked category").symlink_to(outside)
    os.mkfifo(hat / "pipe.jpg")
    found = listed(tmp_path)
    assert photos(found) == [("hat/a.jpg", "hat")]
    assert reasons(found) == {
        "hat/file.jpg": "SYMLINK",
        "hat/folder": "SYMLINK",
        "hat/broken.jpg": "SYMLINK",
        "hat/loop": "SYMLINK",
        "linked category": "SYMLINK",
        "hat/pipe.jpg": "SPECIAL_FILE",
    }


def test_broken_names_are_refused_and_shown_on_one_line(tmp_path: Path) -> None:
    put(tmp_path, b"hat/bad\xff.png", "hat/new\nline.jpg", b"\xfe\xff/a.jpg", "new\nline/a.jpg", "hat/a.jpg", " spaced /a.jpg")
    found = listed(tmp_path)
    assert all("\n" not in path for path in reasons(found))
    assert reasons(found) == {"hat/bad\\udcff.png": "NAME", "\\udcfe\\udcff": "NAME", "new\\nline": "NAME", " spaced ": "NAME"}
    assert ("hat/new\nline.jpg", "hat") in photos(found)


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "hat/a.jpg", "hat/locked/b.jpg")
    scan = os.scandir

    def refuse(path: Path) -> object:  # root may read everything, so the system's answer is put in its place
        if path.name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = listed(tmp_path)
    assert photos(found) == [("hat/a.jpg", "hat")]
    assert reasons(found) == {"hat/locked": "UNREADABLE"}


def test_an_empty_category_is_reported(tmp_path: Path) -> None:
    put(tmp_path, "hat/a.jpg", "shoe/readme.txt")
    assert reasons(listed(tmp_path)) == {"shoe": "EMPTY_CATEGORY"}


def test_a_missing_folder_is_a_mistake_of_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such folder.*packshot catalog add"):
        listed(tmp_path)
    (tmp_path / "catalog").write_text("a file")
    with pytest.raises(UsageError, match="not a folder"):
        listed(tmp_path)


def test_an_empty_folder_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "catalog").mkdir()
    with pytest.raises(DataRejected, match="holds no photo"):
        listed(tmp_path)


@given(st.text())
def test_an_escaped_name_stands_on_one_line_and_can_be_stored(name: str) -> None:
    shown = escape(name)
    assert len(shown.splitlines()) <= 1
    shown.encode()
    assert "\u202e" not in shown


def test_a_file_that_goes_while_it_is_listed_is_named(tmp_path: Path) -> None:
    put(tmp_path, "hat/a.jpg", "hat/b.jpg", "hat/c.jpg")
    found = Folder(kind="folder", path="catalog").photos(tmp_path)
    first = next(found)
    (tmp_path / "catalog" / "hat" / "b.jpg").unlink()
    items = [first, *found]
    assert [name for name, _ in photos(items)] == ["hat/a.jpg", "hat/c.jpg"]
    assert reasons(items) == {"hat/b.jpg": "UNREADABLE"}
