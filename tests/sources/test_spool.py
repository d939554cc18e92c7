from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from packshot.errors import IntegrityError
from packshot.images.decode import Recipe
from packshot.images.manifest import SEEN
from packshot.records import BadPhoto
from packshot.sources import spool as module
from packshot.sources.base import File, Photo
from packshot.sources.intake import Intake, take
from packshot.sources.spool import Spool
from tests.images.files import png, product

RECIPE = Recipe(side=32, background="#ffffff")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Intake]:
    folder = tmp_path_factory.mktemp("photos")
    taken = []
    for number in range(10):
        (folder / f"{number}.png").write_bytes(png(product(number)))
        outcome = take(Photo(name=f"hat/{number}.png", category="hat", content=File(folder / f"{number}.png")), RECIPE)
        assert isinstance(outcome, Intake)
        taken.append(outcome)
    return taken


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT_ROWS", 4)


def refusal(number: int, reason: str = "TRUNCATED") -> BadPhoto:
    return BadPhoto(path=f"hat/{number}.jpg", category="hat", reason=reason, detail="cut", sha256=f"{number:064x}")


def fill(folder: Path, photos: list[Intake], recipe: str = "one") -> None:
    with Spool(folder, recipe) as spool:
        for photo in photos:
            spool.add(photo, ".png")
        spool.flush()


def test_what_was_added_is_there_after_it_was_closed(tmp_path: Path, photos: list[Intake]) -> None:
    fill(tmp_path / "spool", photos)
    with Spool(tmp_path / "spool", "one") as spool:
        seen = spool.seen
        assert seen.schema.equals(SEEN)
        assert seen["sha256"].to_pylist() == [photo.sha256 for photo in photos]
        assert seen["sharpness"].to_pylist() == [photo.measures.sharpness for photo in photos]
        assert seen["phash"].to_pylist() == [photo.prints.phash for photo in photos]
        assert all(spool.read(photo.sha256) == photo.png for photo in photos)
        with pytest.raises(IntegrityError, match="nowhere"):
            spool.read("f" * 64)


def test_only_refusals_that_the_bytes_decide_are_kept(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool", "one") as spool:
        for number, reason in enumerate(["TRUNCATED", "TIMEOUT", "CORRUPT", "UNREADABLE"]):
            spool.add(refusal(number, reason), ".jpg")
        spool.add(BadPhoto(path="hat/none.jpg", category="hat", reason="TRUNCATED", detail="its bytes are not known"), ".jpg")
        spool.flush()
    with Spool(tmp_path / "spool", "one") as spool:
        assert {key: one.reason for key, one in spool.refused.items()} == {
            (f"{0:064x}", ".jpg"): "TRUNCATED",
            (f"{2:064x}", ".jpg"): "CORRUPT",
        }


def test_without_a_flush_only_whole_segments_are_there_and_the_rest_is_written_over(tmp_path: Path, photos: list[Intake]) -> None:
    with Spool(tmp_path / "spool", "one") as spool:
        for photo in photos[:6]:
            spool.add(photo, ".png")
    with Spool(tmp_path / "spool", "one") as spool:
        assert spool.seen.num_rows == 4
        for photo in photos[6:]:
            spool.add(photo, ".png")
        spool.flush()
        assert all(spool.read(photo.sha256) == photo.png for photo in (*photos[:4], *photos[6:]))


@pytest.mark.parametrize("harm", ["recipe", "segment", "pictures", "no pictures"])
def test_what_cannot_be_trusted_is_not_used(tmp_path: Path, photos: list[Intake], harm: str) -> None:
    folder = tmp_path / "spool"
    fill(folder, photos)
    if harm == "segment":
        path = folder / "00000001.parquet"
        path.write_bytes(path.read_bytes()[:-20])
    elif harm == "pictures":
        path = folder / "pictures"
        path.write_bytes(path.read_bytes()[:-1])
    elif harm == "no pictures":
        (folder / "pictures").unlink()
    with Spool(folder, "another" if harm == "recipe" else "one") as spool:
        assert spool.seen.num_rows == 0
        for photo in photos:
            spool.add(photo, ".png")
        spool.flush()
        assert spool.read(photos[3].sha256) == photos[3].png


def test_a_segment_that_is_lost_takes_nothing_else_with_it(tmp_path: Path, photos: list[Intake]) -> None:
    fill(tmp_path / "spool", photos)
    shutil.move(tmp_path / "spool" / "00000000.parquet", tmp_path / "gone")
    with Spool(tmp_path / "spool", "one") as spool:
        assert spool.seen["sha256"].to_pylist() == [photo.sha256 for photo in photos[4:]]
        spool.add(photos[0], ".png")
        spool.flush()
    with Spool(tmp_path / "spool", "one") as spool:
        assert spool.seen.num_rows == 7
