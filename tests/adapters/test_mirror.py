from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from packshot.adapters.mirror import mirror
from packshot.errors import OutOfResources, UsageError


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("hat/a.jpg", "hat/deep/b.jpg", "платье/ü 1.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def test_names_and_bytes_are_kept_and_litter_left_out(photos: Path, tmp_path: Path) -> None:
    expected = tree(photos)
    for litter in ("hat/.DS_Store", "hat/Thumbs.db", ".git/config"):
        (photos / litter).parent.mkdir(exist_ok=True)
        (photos / litter).write_bytes(b"litter")
    mirror(photos, tmp_path / "data" / "catalog")
    assert tree(tmp_path / "data") == {f"catalog/{name}": content for name, content in expected.items()}


def test_a_second_mirror_replaces_the_first(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "data" / "catalog"
    mirror(photos, target)
    (photos / "hat" / "a.jpg").unlink()
    (photos / "hat" / "c.jpg").write_bytes(b"new")
    (target.parent / ".catalog.draft").mkdir()
    (target.parent / ".catalog.draft" / "left by a killed run").write_bytes(b"")
    mirror(photos, target)
    assert tree(target) == tree(photos)
    assert [path.name for path in target.parent.iterdir()] == ["catalog"]


def test_a_full_disk_is_told_and_nothing_changes(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "data" / "catalog"
    mirror(photos, target)
    before = tree(tmp_path / "data")
    (photos / "hat" / "c.jpg").write_bytes(b"new")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfileobj", refuse)
    with pytest.raises(OutOfResources, match=r"No space left on device: [\d,]+ bytes are needed, [\d,]+ are free"):
        mirror(photos, target)
    assert tree(tmp_path / "data") == before


def test_a_mirror_that_was_killed_between_its_renames_loses_nothing(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "data" / "catalog"
    mirror(photos, target)
    before = tree(target)
    target.rename(target.with_name(".catalog.old.draft"))
    (photos / "hat" / "link.jpg").symlink_to("/etc/hostname")
    with pytest.raises(UsageError):
        mirror(photos, target)
    (photos / "hat" / "link.jpg").unlink()
    mirror(photos, target)
    assert tree(target) == before
    assert [path.name for path in target.parent.iterdir()] == ["catalog"]


def test_what_is_no_plain_file_is_named_and_nothing_changes(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "data" / "catalog"
    mirror(photos, target)
    before = tree(target)
    (photos / "hat" / "link.jpg").symlink_to("/etc/hostname")
    (photos / "hat" / "folder").symlink_to("/etc")
    os.mkfifo(photos / "hat" / "pipe")
    Path(os.fsdecode(os.fsencode(photos / "hat") + b"/bad\xff.jpg")).write_bytes(b"")
    with pytest.raises(UsageError) as caught:
        mirror(photos, target)
    assert all(name in str(caught.value) for name in ("hat/link.jpg", "hat/folder", "hat/pipe", "bad\\udcff.jpg"))
    assert tree(target) == before


def test_a_folder_that_cannot_be_mirrored_is_a_mistake_of_use(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, words in (
        (tmp_path / "absent", "no such folder"),
        (tmp_path / "empty", "holds no file"),
        (tmp_path, "one folder holds the other"),
    ):
        with pytest.raises(UsageError, match=words):
            mirror(folder, tmp_path / "data" / "catalog")
    with pytest.raises(UsageError, match="one folder holds the other"):
        mirror(photos, photos / "hat" / "catalog")


def test_a_folder_that_is_already_there_is_left_alone(photos: Path) -> None:
    before = tree(photos)
    mirror(photos, photos)
    assert tree(photos) == before


def test_a_link_to_the_folder_itself_may_be_named(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(photos)
    mirror(tmp_path / "link", tmp_path / "data" / "catalog")
    assert tree(tmp_path / "data" / "catalog") == tree(photos)
