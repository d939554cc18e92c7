from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from packshot.adapters.revisions import open_revision, outdated, uncommitted
from packshot.errors import IntegrityError, Unavailable, UsageError
from packshot.layout import Layout
from tests.catalog.conftest import Shop, first_shots, make_shop


def cache(shop: Shop) -> Path:
    return shop.layout.root / ".dvc" / "cache" / "files" / "md5"


def object_of(shop: Shop, revision: str, name: str) -> Path:
    md5 = open_revision(shop.layout, revision).files[name]
    return cache(shop) / md5[:2] / md5[2:]


def test_each_revision_has_the_files_of_its_time(shop: Shop, tmp_path: Path) -> None:
    found = {name: open_revision(shop.layout, name) for name in ("first", "HEAD~1", "HEAD", "main")}
    assert found["first"].md5 == found["HEAD~1"].md5 != found["HEAD"].md5 == found["main"].md5
    found["HEAD"].link(["catalog.json", "manifest.parquet"], tmp_path)
    assert (tmp_path / "catalog.json").read_bytes() == (shop.layout.stage("ingest") / "catalog.json").read_bytes()


@pytest.mark.parametrize("name", ["nowhere", "HEAD~99", "--all", ""])
def test_what_is_no_revision_is_said_to_be_none(shop: Shop, name: str) -> None:
    with pytest.raises(UsageError, match="no such revision"):
        open_revision(shop.layout, name)


def test_a_revision_without_data_says_so(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop")
    shop.project.run("git", "add", "-A")
    shop.project.run("git", "commit", "-qm", "Nothing yet")
    with pytest.raises(UsageError, match="nothing was ingested at 'HEAD'"):
        open_revision(shop.layout, "HEAD")


def test_without_git_there_are_no_versions(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    with pytest.raises(UsageError, match="no versions"):
        open_revision(Layout(tmp_path), "HEAD")
    assert uncommitted(Layout(tmp_path), ["params.yaml"]) == ()


def test_a_fresh_clone_fetches_only_what_is_asked_for(shop: Shop, tmp_path: Path) -> None:
    shop.project.run("git", "clone", "-q", str(shop.layout.root), str(tmp_path / "clone"))
    layout = Layout(tmp_path / "clone")
    found = open_revision(layout, "HEAD~1")
    found.link(["catalog.json"], tmp_path / "seen")
    assert (tmp_path / "seen" / "catalog.json").is_file()
    objects = [path for path in (layout.root / ".dvc" / "cache").rglob("*") if path.is_file()]
    assert len(objects) == 2, "the listing, and the one file"


def test_what_is_nowhere_is_said_to_be_nowhere(shop: Shop, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shop.project.run("git", "clone", "-q", str(shop.layout.root), str(clone))
    (clone / ".dvc" / "config").write_text("[core]\n    remote = depot\n['remote \"depot\"']\n    url = ../../nowhere\n")
    with pytest.raises(Unavailable, match="dvc fetch") as told:
        open_revision(Layout(clone), "first")
    assert "'first'" in str(told.value)
    (clone / ".dvc" / "config").write_text("")
    with pytest.raises(Unavailable, match="no default remote"):
        open_revision(Layout(clone), "first")


def test_an_object_that_has_rotted_is_not_read(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop")
    shop.ingest(first_shots())
    shop.commit("One")
    place = object_of(shop, "HEAD", "catalog.json")
    place.chmod(0o644)
    content = bytearray(place.read_bytes())
    content[7] ^= 1
    place.write_bytes(bytes(content))
    with pytest.raises(IntegrityError, match="not what its name says"):
        open_revision(shop.layout, "HEAD").link(["catalog.json"], tmp_path / "seen")


def test_outdated_names_what_dvc_would_do_again(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop")
    shop.ingest(first_shots())
    shop.commit("One")
    assert outdated(shop.layout, ["ingest"]) == {}
    assert uncommitted(shop.layout, ["dvc.lock", "params.yaml"]) == ()
    shop.ingest(first_shots()[:-1])
    assert outdated(shop.layout, ["ingest"]) == {"ingest": ("data/ingest is modified",)}
    shutil.rmtree(shop.layout.stage("ingest"))
    assert outdated(shop.layout, ["ingest"]) == {"ingest": ("data/ingest is missing",)}
    (shop.layout.root / "params.yaml").write_text("seed: 2\n")
    assert uncommitted(shop.layout, ["dvc.lock", "params.yaml"]) == ("params.yaml",)
