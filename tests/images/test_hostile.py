"""Hostile files through the crew that `packshot ingest` uses, in a process that imports what it imports."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from packshot.images.decode import PictureError, _decode_any, decode
from packshot.images.sheet import decode_png
from tests.images.files import jpeg, product
from tests.images.hostile import SECRET, corpus, inks, photo, png_parts, progressive

WHITE = (255, 255, 255)
ALLOWED_MB = 300
SECONDS = 5

INTAKE = """
import json, sys
from pathlib import Path
import packshot.stages.ingest
from packshot.images.decode import Recipe
from packshot.sources.base import File, Photo
from packshot.sources.intake import Intake, take_all

folder, out = map(Path, sys.argv[1:])
photos = (Photo(name, "hat", File(folder / name)) for name in json.loads((out / "names.json").read_text()))
verdicts = {}
for number, item in enumerate(take_all(photos, Recipe(128, "#ffffff"))):
    name = item.photo.name if isinstance(item, Intake) else item.path
    verdicts[name] = ["TAKEN", ""] if isinstance(item, Intake) else [item.reason, item.detail]
    if isinstance(item, Intake):
        (out / name).write_bytes(item.png)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
(out / "verdicts.json").write_text(json.dumps([verdicts, int(peak.split()[1]) // 1024]))
"""


@dataclass(frozen=True)
class Taken:
    """What became of the corpus."""

    verdicts: dict[str, tuple[str, str]]
    pngs: dict[str, bytes]
    peak_mb: int


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    folder, out = tmp_path_factory.mktemp("hostile"), tmp_path_factory.mktemp("taken")
    names = [one.write(folder).name for one in corpus()]
    (out / "names.json").write_text(json.dumps(names))
    subprocess.run([sys.executable, "-c", INTAKE, str(folder), str(out)], check=True, timeout=600)
    for name in names:  # the bombs are not for keeping
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    verdicts, peak_mb = json.loads((out / "verdicts.json").read_text())
    pngs = {name: (out / name).read_bytes() for name, (verdict, _) in verdicts.items() if verdict == "TAKEN"}
    return Taken({name: tuple(verdict) for name, verdict in verdicts.items()}, pngs, peak_mb)


def test_the_corpus_is_large_and_varied_and_every_reason_for_a_file_is_in_it() -> None:
    found = corpus()
    assert len(found) >= 200
    assert len({one.name for one in found}) == len(found)
    assert len({one.kind for one in found}) >= 12
    assert {one.verdict for one in found} == {
        *("TAKEN", "EMPTY", "TRUNCATED", "NOT_AN_IMAGE", "FORMAT", "EXTENSION", "TOO_LARGE"),
        *("BUDGET", "ANIMATED", "TRAILING", "CORRUPT", "SYMLINK", "SPECIAL_FILE"),
    }


def test_the_corpus_is_the_same_each_time() -> None:
    light = [one.name for one in corpus() if one.kind in {"cut short", "odd EXIF", "odd profile", "rare JPEG", "broken PNG"}]
    first, second = ([one.make() for one in corpus() if one.name in light] for _ in range(2))  # type: ignore[call-arg]
    assert first == second


def test_every_file_gets_its_declared_verdict(taken: Taken) -> None:
    declared = {one.name: one.verdict for one in corpus()}
    assert set(taken.verdicts) == set(declared)
    wrong = {name: (declared[name], found) for name, found in taken.verdicts.items() if found[0] != declared[name]}
    assert wrong == {}


def test_every_refusal_says_what_is_wrong_in_words_that_are_safe_to_print(taken: Taken) -> None:
    for reason, detail in taken.verdicts.values():
        if reason != "TAKEN":
            assert detail.isprintable()
            assert 3 < len(detail) <= 250


def test_the_process_that_runs_the_crew_stays_small(taken: Taken) -> None:
    assert taken.peak_mb < ALLOWED_MB


def test_no_file_can_hold_the_crew_up(taken: Taken) -> None:
    from packshot.sources.crew import COMPUTING_SECONDS

    assert COMPUTING_SECONDS <= SECONDS  # the kernel sees to it
    assert {reason for reason, _ in taken.verdicts.values()}.isdisjoint({"TIMEOUT", "CRASHED", "FAULT"})


def test_nothing_but_pixels_is_kept_of_a_photo(taken: Taken) -> None:
    assert len(taken.pngs) > 100
    for name, content in taken.pngs.items():
        assert {kind for kind, _ in png_parts(content)} == {b"IHDR", b"IDAT", b"IEND"}, name
        assert SECRET not in content, name
        assert max(decode_png(content).shape) <= 128, name


def test_the_secret_is_in_the_files_that_are_taken() -> None:
    told = [one for one in corpus() if one.kind in {"odd EXIF", "attached"} and one.verdict == "TAKEN"]
    assert sum(SECRET in one.make() for one in told) >= 30  # type: ignore[call-arg, operator]


# --- two decoders, one verdict ------------------------------------------------------------------------------------------


def agrees(content: bytes) -> bool:
    """Whether a JPEG is taken; what is taken, Pillow takes too, with the same pixels (70 dB)."""
    try:
        shown = decode(content, background=WHITE).pixels
    except PictureError:
        return False
    reference = _decode_any(content, "JPEG", WHITE)
    assert shown.shape == reference.shape
    assert np.mean(np.square(shown.astype(float) - reference)) <= 255**2 / 10**7
    return True


def test_both_decoders_take_the_same_hostile_jpegs_and_show_the_same() -> None:
    found = [
        one
        for one in corpus()
        if one.name.lower().endswith((".jpg", ".jpeg")) and one.kind not in {"special file", "work bomb", "too large"}
    ]
    assert sum(agrees(one.make()) for one in found if one.verdict == "TAKEN") > 50  # type: ignore[call-arg, arg-type]


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("more", [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_rows": 1}, {"quality": 40}])
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (16, 16), (97, 61)])
def test_plain_jpegs_have_pillow_s_pixels(subsampling: int, more: dict[str, object], size: tuple[int, int]) -> None:
    content = jpeg(product(3, 120, 120)[: size[1], : size[0]], subsampling=subsampling, **more)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert np.array_equal(decode(content, background=WHITE).pixels, expected)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_is_changed_in_a_jpeg_both_decoders_give_one_verdict(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([photo(), progressive(), inks()])))
    end = data.draw(st.sampled_from([640, len(content)]))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(2, min(end, len(content)) - 1))] = data.draw(st.integers(0, 255))
    agrees(bytes(content))


def test_data_lost_within_a_picture_is_refused_where_pillow_paints_it_grey() -> None:
    content = photo()
    hurt = content[: len(content) // 2] + b"\xff\xd9"
    assert Image.open(io.BytesIO(hurt)).convert("RGB").size == (96, 128)
    with pytest.raises(PictureError) as caught:
        decode(hurt, background=WHITE)
    assert caught.value.reason == "CORRUPT"


STARVED = """
import resource, sys
from pathlib import Path
from packshot.images.decode import PictureError, decode
import cv2, simplejpeg

content = Path(sys.argv[1]).read_bytes()
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + 24 * 1024 * 1024
resource.setrlimit(resource.RLIMIT_AS, (size, size))
try:
    decode(content, background=(255, 255, 255))
except PictureError as error:
    print(error.reason)
"""


@pytest.mark.parametrize("form", ["JPEG", "PNG"])  # libwebp does not tell why it gives up
def test_a_photo_that_needs_more_memory_than_there_is_is_over_its_budget(form: str, tmp_path: Path) -> None:
    Image.new("RGB", (4096, 4096), "teal").save(tmp_path / "photo", form)
    done = subprocess.run([sys.executable, "-c", STARVED, str(tmp_path / "photo")], capture_output=True, text=True, timeout=120)
    assert done.stdout == "BUDGET\n", done.stderr
