from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from packshot.errors import DataRejected
from packshot.layout import Layout
from packshot.records import Expectation, ValidationReport
from packshot.stages.ingest import ingest
from packshot.stages.validate import validate
from tests.images.files import encode, jpeg, png, product
from tests.stages.catalogues import small_params, write_catalogue


def found(report: ValidationReport) -> dict[str, Expectation]:
    return {one.name: one for one in report.expectations}


def catalogue(root: Path, photos: int = 60) -> Layout:
    layout = Layout(root)
    write_catalogue(layout.catalog, photos=photos)
    return layout


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A catalogue that keeps every rule, validated once."""
    layout = catalogue(tmp_path_factory.mktemp("sound"))
    ingest(small_params(), layout)
    validate(small_params(), layout)
    return layout


def test_a_sound_catalogue_is_accepted_and_reported(sound: Layout) -> None:
    folder = sound.stage("validate")
    report = ValidationReport.read(folder / "report.json")
    assert report.passed
    assert all(one.passed for one in report.expectations), [one for one in report.expectations if not one.passed]
    assert report.photos == 120
    assert list((folder / "docs").glob("validations/photos/**/*.html"))
    assert (folder / "docs" / "index.html").is_file()


def test_the_page_opens_without_a_network(sound: Layout) -> None:
    page = (sound.stage("validate") / "report.html").read_text()
    assert not re.findall(r"https?://|<script|<link|@import|url\(", page)
    assert page.count("<figure>") >= 16
    assert "accepted" in page


def test_the_report_is_the_same_for_the_same_catalogue(sound: Layout) -> None:
    names = ("report.json", "report.html")
    before = [(sound.stage("validate") / name).read_bytes() for name in names]
    validate(small_params(), sound)
    assert [(sound.stage("validate") / name).read_bytes() for name in names] == before


def test_too_little_is_rejected_after_the_report_is_written(sound: Layout, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.data.mkdir()
    layout.stage("ingest").symlink_to(sound.stage("ingest"))
    with pytest.raises(DataRejected) as caught:
        validate(small_params(validate_={"min_photos": 121, "min_categories": 3, "min_photos_a_category": 61}), layout)
    report = ValidationReport.read(layout.stage("validate") / "report.json")
    broken = ["enough photos", "enough categories", "enough photos of each category"]
    assert not report.passed
    assert [one.name for one in report.expectations if not one.passed] == broken
    assert "rejected" in (layout.stage("validate") / "report.html").read_text()
    message = str(caught.value)
    assert caught.value.exit_code == 10
    assert "\n" not in message
    assert all(name in message for name in [*broken, ": hat, shoe"])


def test_bad_files_and_what_they_break_are_named(tmp_path: Path) -> None:
    layout = catalogue(tmp_path)
    for index in range(4):
        (layout.catalog / "hat" / f"broken {index}.jpg").write_bytes(jpeg(product(index))[:300])
    (layout.catalog / "scarf").mkdir()
    ingest(small_params(), layout)
    with pytest.raises(DataRejected) as caught:
        validate(small_params(), layout)
    message = str(caught.value)
    assert all(f"hat/broken {index}.jpg (TRUNCATED)" in message for index in range(4))
    assert "few unusable files" in message
    assert "enough photos of each category: 0 to 60" in message
    assert ": scarf" in message
    page = (layout.stage("validate") / "report.html").read_text()
    assert "hat/broken 3.jpg" in page
    assert "EMPTY_CATEGORY" in page


def test_repeats_are_no_unusable_files(tmp_path: Path) -> None:
    layout = catalogue(tmp_path, photos=55)
    for index in range(40):
        (layout.catalog / "hat" / f"z{index}.png").write_bytes(png(product(0, 40, 48)))
    ingest(small_params(), layout)
    report = validate(small_params(validate_={"max_duplicate_share": 0.1}), layout)
    assert report.passed
    assert not found(report)["few duplicates"].passed
    assert found(report)["few unusable files"].passed
    assert len(report.quarantined) == 40


def test_doubtful_photos_are_warned_of_by_name_and_shown(tmp_path: Path) -> None:
    layout = catalogue(tmp_path)
    hat = layout.catalog / "hat"
    grain = np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)
    (hat / "blurred.png").write_bytes(encode(Image.fromarray(product(900, 40, 48)).filter(ImageFilter.GaussianBlur(9)), "PNG"))
    (hat / "black.png").write_bytes(png(np.zeros((48, 40, 3), dtype=np.uint8)))
    (hat / "white.png").write_bytes(png(np.full((48, 40, 3), 255, dtype=np.uint8)))
    (hat / "long.png").write_bytes(png(np.tile(grain, (1, 9, 1))))
    (hat / "tiny.png").write_bytes(png(grain[:9, :9]))
    both = product(901, 160, 160)
    (hat / "both.jpg").write_bytes(jpeg(both))
    (layout.catalog / "shoe" / "both.jpg").write_bytes(jpeg(both, quality=70))
    params = small_params(
        ingest={"side": 160},
        prepare={"duplicate_radius": 10},
        validate_={
            "min_sharpness": 5.0,
            "min_brightness": 0.05,
            "max_brightness": 0.99,
            "min_contrast": 0.02,
            "min_fill": 0.02,
            "min_side": 10,
            "max_aspect": 5.0,
        },
    )
    ingest(params, layout)
    report = validate(params, layout)
    assert report.passed
    broken = {one.name: one.offenders for one in report.expectations if not one.passed}
    assert set(broken["sharp"]) >= {"hat/black.png", "hat/white.png"}
    assert broken["neither dark nor pale"] == ("hat/black.png", "hat/white.png")
    assert broken["a product to see"] == ("hat/black.png", "hat/white.png")
    assert broken["not too long"] == ("hat/long.png",)
    assert broken["large enough"] == ("hat/tiny.png",)
    assert broken["copies in one category"] == ("hat/both.jpg", "shoe/both.jpg")
    page = (layout.stage("validate") / "report.html").read_text()
    assert "alt='hat/long.png'" in page
    assert "Near-duplicates" in page


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    layout = catalogue(tmp_path)
    evil = layout.catalog / "<script>alert(1)<"
    evil.mkdir()
    for index in range(10):
        (evil / f"'\"><img src=x onerror=alert({index})>.png").write_bytes(png(product(7000 + index)))
    ingest(small_params(), layout)
    validate(small_params(), layout)
    page = (layout.stage("validate") / "report.html").read_text()
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;" in page
