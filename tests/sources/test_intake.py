from __future__ import annotations

import gc
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from packshot.images.decode import Recipe
from packshot.images.fingerprint import fingerprint, pixel_digest
from packshot.images.measure import describe_shape, measure
from packshot.images.sheet import decode_png
from packshot.records import BadPhoto
from packshot.sources import intake
from packshot.sources.base import Drawing, Encoded, File, Photo
from packshot.sources.intake import Intake, take, take_all
from tests.images.files import encode, jpeg, png, product
from tests.sources.drawings import Killer, block, compute, die, die_once, draw, draw_late, fail, gorge

RECIPE = Recipe(side=256, background="#ffffff")
ONE_A_CHUNK = Recipe(side=2048, background="#ffffff")


def photo(content: Encoded | Drawing, name: str = "hat/a", sha256: str = "") -> Photo:
    return Photo(name=name, category="hat", content=content, sha256=sha256)


def drawings(count: int) -> list[Photo]:
    return [photo(partial(draw, index), str(index)) for index in range(count)]


def names(found: list[Intake | BadPhoto]) -> list[str]:
    return [one.photo.name if isinstance(one, Intake) else one.path for one in found]


def reasons(found: list[Intake | BadPhoto]) -> dict[int, str]:
    return {index: one.reason for index, one in enumerate(found) if isinstance(one, BadPhoto)}


# --- one photo --------------------------------------------------------------------------------------------------------------


def test_a_photo_is_kept_without_loss_and_described(tmp_path: Path) -> None:
    picture = product(1, 90, 120)
    (tmp_path / "a.png").write_bytes(png(picture))
    taken = take(photo(File(tmp_path / "a.png")), RECIPE)
    assert isinstance(taken, Intake)
    assert np.array_equal(decode_png(taken.png), picture)
    assert (taken.width, taken.height, taken.format) == (90, 120, "PNG")
    assert taken.sha256 == hashlib.sha256(png(picture)).hexdigest()
    assert taken.file_bytes == len(png(picture))
    assert taken.pixels == pixel_digest(picture)
    assert (taken.prints, taken.measures, taken.shape) == (fingerprint(picture), measure(picture), describe_shape(picture))


def test_a_large_photo_is_fitted_and_a_small_one_left(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(product(1, 90, 120)))
    taken = take(photo(File(tmp_path / "a.png")), Recipe(side=60, background="#ffffff"))
    assert isinstance(taken, Intake)
    assert decode_png(taken.png).shape == (60, 45, 3)
    assert (taken.width, taken.height) == (90, 120)


def test_transparency_is_laid_over_the_recipe_s_background(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(Image.new("RGBA", (20, 20), (1, 2, 3, 0)), "PNG"))
    taken = take(photo(File(tmp_path / "a.png")), Recipe(side=64, background="#102030"))
    assert isinstance(taken, Intake)
    assert (decode_png(taken.png) == (0x10, 0x20, 0x30)).all()


def test_a_drawing_is_taken_like_a_photo() -> None:
    taken = take(photo(partial(draw, 4)), RECIPE)
    assert isinstance(taken, Intake)
    assert taken.format == "DRAWN"
    assert taken.sha256 == hashlib.sha256(product(4).tobytes()).hexdigest()


@pytest.mark.parametrize("content", [b"", b"not a photo"])
def test_a_bad_file_is_named_with_its_reason_and_its_digest(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    found = take(photo(File(tmp_path / "a.jpg"), "hat/a\n.jpg"), RECIPE)
    assert isinstance(found, BadPhoto)
    assert (found.path, found.category, found.reason) == ("hat/a\\n.jpg", "hat", "NOT_AN_IMAGE" if content else "EMPTY")
    assert found.sha256 == hashlib.sha256(content).hexdigest()


def test_a_file_that_is_not_there_has_no_digest(tmp_path: Path) -> None:
    found = take(photo(File(tmp_path / "a.jpg")), RECIPE)
    assert isinstance(found, BadPhoto)
    assert (found.reason, found.sha256) == ("UNREADABLE", "")


def test_bytes_that_are_not_those_announced_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    own, other = hashlib.sha256(jpeg()).hexdigest(), "0" * 64
    assert isinstance(take(photo(File(tmp_path / "a.jpg"), sha256=own), RECIPE), Intake)
    found = take(photo(File(tmp_path / "a.jpg"), sha256=other), RECIPE)
    assert isinstance(found, BadPhoto)
    assert (found.reason, found.sha256) == ("CHANGED", "")


def test_a_fault_of_packshot_s_own_costs_one_photo_and_says_where_it_is() -> None:
    found = take(photo(fail), RECIPE)
    assert isinstance(found, BadPhoto)
    assert found.reason == "FAULT"
    assert found.detail.startswith("ZeroDivisionError: by zero (drawings.py:")


# --- many -------------------------------------------------------------------------------------------------------------------


def test_photos_come_out_in_their_order_as_if_taken_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "cut.jpg").write_bytes(jpeg()[:300])
    bad = BadPhoto(path="x", category="c", reason="SYMLINK", detail="a link")
    items: list[Photo | BadPhoto] = [
        photo(partial(draw_late, 0), "0"),
        photo(File(tmp_path / "a.jpg"), "1"),
        bad,
        photo(File(tmp_path / "cut.jpg"), "2"),
        *drawings(100)[3:],
    ]
    found = list(take_all(iter(items), RECIPE))
    assert names(found) == ["0", "1", "x", *map(str, range(2, 100))]
    assert found[2] is bad
    assert reasons(found) == {2: "SYMLINK", 3: "TRUNCATED"}
    for item, one in zip(items, found, strict=True):
        straight = item if isinstance(item, BadPhoto) else take(item, RECIPE)
        if isinstance(one, Intake):
            assert isinstance(straight, Intake)
            assert (one.sha256, one.pixels, one.png, one.prints) == (
                straight.sha256,
                straight.pixels,
                straight.png,
                straight.prints,
            )
            assert (one.measures, one.shape) == (straight.measures, straight.shape)
        else:
            assert one == straight


def test_whatever_kills_a_process_costs_its_photo_and_no_other(tmp_path: Path) -> None:
    items = drawings(70)
    hostile = {
        0: (die, "CRASHED"),
        3: (partial(die, signal.SIGSEGV), "CRASHED"),
        4: (block, "TIMEOUT"),
        31: (gorge, "BUDGET"),
        33: (fail, "FAULT"),
        69: (partial(die, signal.SIGABRT), "CRASHED"),
    }
    for index, (content, _) in hostile.items():
        items[index] = photo(content, str(index))
    items[34] = photo(Killer(), "34")
    items[35] = photo(partial(die_once, tmp_path / "mark"), "35")
    found = list(take_all(items, RECIPE))
    assert names(found) == [str(index) for index in range(70)]
    assert reasons(found) == {**{index: reason for index, (_, reason) in hostile.items()}, 34: "CRASHED"}
    details = {index: one.detail for index, one in enumerate(found) if isinstance(one, BadPhoto)}
    assert details[3] == "the process that decoded it died of SIGSEGV"
    killer = found[34]
    assert isinstance(killer, BadPhoto)
    assert killer.sha256 == hashlib.sha256(b"killer").hexdigest()
    assert (tmp_path / "mark").exists()


def test_a_photo_that_needs_too_much_computing_ends_after_seconds_of_it() -> None:
    items = drawings(5)
    items[2] = photo(compute, "2")
    found = list(take_all(items, RECIPE))
    assert reasons(found) == {2: "TIMEOUT"}
    assert isinstance(found[2], BadPhoto)
    assert found[2].detail == "not done after 4 s of computing"


def test_the_largest_photo_that_is_allowed_fits_into_a_process_s_memory(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(Image.new("RGBA", (4096, 4096), (200, 100, 50, 128)), "PNG", compress_level=1))
    (tmp_path / "b.jpg").write_bytes(encode(Image.new("CMYK", (4096, 4096), (200, 100, 50, 128)), "JPEG"))
    found = list(take_all([photo(File(tmp_path / "a.png")), photo(File(tmp_path / "b.jpg"))], RECIPE))
    assert reasons(found) == {}


def test_only_so_much_is_taken_in_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "count_cores", lambda: 1)
    asked = 0

    def endless() -> Iterator[Photo]:
        nonlocal asked
        while True:
            asked += 1
            yield photo(partial(draw, asked), str(asked))

    found = take_all(endless(), RECIPE)
    for _ in range(40):
        next(found)
    assert asked <= (intake.CHUNKS_AHEAD + 1) * intake.CHUNK_PHOTOS
    found.close()


def test_large_pictures_go_in_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "count_cores", lambda: 1)
    items = iter(drawings(50))
    found = take_all(items, ONE_A_CHUNK)
    next(found)
    assert len(list(items)) == 50 - intake.CHUNKS_AHEAD
    found.close()


def test_an_intake_that_is_given_up_leaves_no_process() -> None:
    others = _workers(psutil.Process())  # of what earlier tests have left running on purpose
    found = take_all(drawings(200), RECIPE)
    next(found)
    workers = [one for one in _workers(psutil.Process()) if one not in others]
    assert workers
    found.close()
    del found
    gc.collect()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive


def test_nothing_at_all_becomes_nothing_at_all() -> None:
    assert list(take_all([], RECIPE)) == []


def test_workers_need_no_torch() -> None:
    heavy = ("torch", "pandas", "mlflow", "distributed")
    code = f"import sys, packshot.sources.intake; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_a_parent_that_was_ended(tmp_path: Path, sign: signal.Signals) -> None:
    program = tmp_path / "run.py"
    program.write_text(
        "import signal\nfrom functools import partial\nfrom packshot.images.decode import Recipe\n"
        "from packshot.sources.base import Photo\n"
        "from packshot.sources.intake import take_all\nfrom tests.sources.drawings import draw_late\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs begin with it ignored
        "    photos = (Photo(name=str(i), category='c', content=partial(draw_late, i)) for i in range(5000))\n"
        "    for taken in take_all(photos, Recipe(2048, '#ffffff')):\n        print(taken.photo.name, flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2
    process.send_signal(sign)
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


def _workers(process: psutil.Process) -> list[psutil.Process]:
    """The grandchildren: processes that the server of clean forks has forked."""
    return [one for child in process.children() for one in child.children()]
