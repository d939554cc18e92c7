from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from packshot.images.fingerprint import pixel_digest
from packshot.images.sheet import decode_png
from packshot.records import BadPhoto
from packshot.sources.base import Photo
from packshot.sources.intake import Intake, take, take_all
from tests.images.files import jpeg, png, product
from tests.sources.drawings import die, draw, draw_late, hang

WHITE = (255, 255, 255)


def test_a_photo_is_kept_without_loss_and_described(tmp_path: Path) -> None:
    picture = product(1, 90, 120)
    (tmp_path / "a.png").write_bytes(png(picture))
    taken = take(Photo(name="hat/a.png", category="hat", content=tmp_path / "a.png"), 256, WHITE)
    assert isinstance(taken, Intake)
    assert np.array_equal(decode_png(taken.png), picture)
    assert (taken.width, taken.height, taken.format) == (90, 120, "PNG")
    assert taken.sha256 == hashlib.sha256(png(picture)).hexdigest()
    assert taken.file_bytes == len(png(picture))
    assert taken.pixels == pixel_digest(picture)


def test_a_large_photo_is_fitted_and_a_small_one_left(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(product(1, 90, 120)))
    taken = take(Photo(name="a", category="c", content=tmp_path / "a.png"), 60, WHITE)
    assert isinstance(taken, Intake)
    assert decode_png(taken.png).shape == (60, 45, 3)
    assert (taken.width, taken.height) == (90, 120)


def test_a_drawing_is_taken_like_a_photo() -> None:
    taken = take(Photo(name="a", category="c", content=partial(draw, 4)), 256, WHITE)
    assert isinstance(taken, Intake)
    assert taken.format == "DRAWN"
    assert taken.sha256 == hashlib.sha256(product(4).tobytes()).hexdigest()


def test_photos_come_out_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "cut.jpg").write_bytes(jpeg()[:300])
    bad = BadPhoto(path="x", category="c", reason="SYMLINK", detail="a link")
    items: list[Photo | BadPhoto] = [
        Photo(name="0", category="c", content=partial(draw_late, 0)),
        Photo(name="1", category="c", content=tmp_path / "a.jpg"),
        bad,
        Photo(name="2", category="c", content=tmp_path / "cut.jpg"),
        *(Photo(name=str(index), category="c", content=partial(draw, index)) for index in range(3, 40)),
    ]
    taken = list(take_all(iter(items), 64, WHITE))
    assert [one.photo.name if isinstance(one, Intake) else one.path for one in taken] == ["0", "1", "x", *map(str, range(2, 40))]
    assert taken[2] is bad
    assert isinstance(taken[3], BadPhoto)
    assert taken[3].reason == "TRUNCATED"


def test_a_worker_that_dies_costs_its_photo_and_no_other() -> None:
    items = [Photo(name=str(index), category="c", content=partial(draw, index)) for index in range(30)]
    items[3] = Photo(name="3", category="c", content=die)
    items[4] = Photo(name="4", category="c", content=hang)
    items[29] = Photo(name="29", category="c", content=die)
    taken = list(take_all(items, 64, WHITE))
    crashed = {index for index, one in enumerate(taken) if isinstance(one, BadPhoto)}
    assert crashed == {3, 4, 29}
    assert {one.reason for one in taken if isinstance(one, BadPhoto)} == {"CRASHED"}
    assert [one.photo.name for one in taken if isinstance(one, Intake)] == [str(i) for i in range(30) if i not in crashed]


def test_nothing_is_taken_in_before_it_is_asked_for() -> None:
    assert next(take_all(iter([BadPhoto(path="x", category="", reason="NAME", detail="")]), 64, WHITE))
    assert list(take_all([], 64, WHITE)) == []


def test_workers_need_no_torch() -> None:
    code = "import sys, packshot.sources.intake; print([name for name in ('torch', 'pandas', 'mlflow') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_worker_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    program = tmp_path / "run.py"
    program.write_text(
        "from functools import partial\nfrom packshot.sources.base import Photo\nfrom packshot.sources.intake import take_all\n"
        "from tests.sources.drawings import draw_late\n"
        "if __name__ == '__main__':\n"
        "    photos = (Photo(name=str(i), category='c', content=partial(draw_late, i)) for i in range(5000))\n"
        "    for taken in take_all(photos, 64, (255, 255, 255)):\n        print(taken.photo.name, flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, program], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


@pytest.mark.parametrize("content", [b"", b"not a photo"])
def test_a_bad_file_is_named_with_its_reason(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    found = take(Photo(name="hat/a\n.jpg", category="hat", content=tmp_path / "a.jpg"), 64, WHITE)
    assert isinstance(found, BadPhoto)
    assert (found.path, found.category, found.reason) == ("hat/a\\n.jpg", "hat", "NOT_AN_IMAGE" if content else "EMPTY")
