from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageFilter

from packshot.errors import DataRejected, IntegrityError
from packshot.images.manifest import COPIES, write_copies
from packshot.layout import Layout
from packshot.params import Params
from packshot.records import Attribute, BadPhoto, Catalog, Expectation, ValidationReport
from packshot.sources.drift import Profile, keep_profile
from packshot.sources.expected import Bounds, Coverage, Declared, Drift, OneOf, Unexpired
from packshot.stages.ingest import ingest
from packshot.stages.validate import validate
from tests.images.files import jpeg, product
from tests.sources.ingested import Shot, write_ingested
from tests.sources.test_drift import crown
from tests.stages.catalogues import small_params, write_catalogue

TODAY = datetime.now(UTC).date()
COLOUR = Attribute(name="colour", kind="label")


def shots(count: int = 60, categories: Sequence[str] = ("hat", "shoe")) -> list[Shot]:
    """Different photos of each category."""
    return [
        Shot(f"{category}/{index:03d}.png", product(1000 * number + index, 40, 48))
        for number, category in enumerate(categories)
        for index in range(count)
    ]


def project(root: Path, photos: Sequence[Shot], **told: object) -> Layout:
    layout = Layout(root)
    write_ingested(layout.stage("ingest"), photos, **told)  # type: ignore[arg-type]
    return layout


def expecting(*expectations: Declared, **changes: object) -> Params:
    """The tests' params with more expectations."""
    own = small_params().validate_.expectations
    return small_params(validate_={"expectations": (*own, *expectations), **changes})


def found(report: ValidationReport) -> dict[str, Expectation]:
    return {one.name: one for one in report.expectations}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A catalogue that keeps every rule, validated once."""
    layout = project(tmp_path_factory.mktemp("sound"), shots())
    validate(small_params(), layout)
    return layout


def again(sound: Layout, root: Path) -> Layout:
    """Another project with the same photos."""
    layout = Layout(root)
    layout.data.mkdir(parents=True)
    layout.stage("ingest").symlink_to(sound.stage("ingest"))
    return layout


def test_a_sound_catalogue_is_accepted_and_reported(sound: Layout) -> None:
    folder = sound.stage("validate")
    report = ValidationReport.read(folder / "report.json")
    assert report.passed
    assert not any(one.broken for one in report.expectations), [one for one in report.expectations if one.broken]
    assert report.photos == 120
    assert list((folder / "docs").glob("validations/photos/**/*.html"))
    assert (folder / "docs" / "index.html").is_file()


def test_the_page_opens_without_a_network(sound: Layout) -> None:
    page = (sound.stage("validate") / "report.html").read_text()
    assert not re.findall(r"https?://|<script|<link|@import|url\(", page)
    assert page.count("<figure") >= 16
    assert "accepted" in page


def test_the_report_says_by_which_suite_it_was_made(sound: Layout, tmp_path: Path) -> None:
    whole = ValidationReport.read(sound.stage("validate") / "report.json").suite
    suite = small_params().validate_.expectations
    fewer = small_params(validate_={"expectations": suite[:-1]})
    assert whole == small_params().validate_.content_digest()
    assert validate(fewer, again(sound, tmp_path)).suite not in {"", whole}


def test_the_report_is_the_same_for_the_same_catalogue(sound: Layout) -> None:
    names = ("report.json", "report.html", "profile.json")
    before = [(sound.stage("validate") / name).read_bytes() for name in names]
    validate(small_params(), sound)
    assert [(sound.stage("validate") / name).read_bytes() for name in names] == before


def test_a_photographed_catalogue_goes_through_ingest_and_validate(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_catalogue(layout.catalog)
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


def test_too_little_is_rejected_after_the_report_is_written(sound: Layout, tmp_path: Path) -> None:
    layout = again(sound, tmp_path)
    with pytest.raises(DataRejected) as caught:
        validate(small_params(validate_={"min_photos": 121, "min_categories": 3, "min_photos_a_category": 61}), layout)
    report = ValidationReport.read(layout.stage("validate") / "report.json")
    broken = ["enough photos", "enough categories", "enough photos of each category"]
    assert not report.passed
    assert [one.name for one in report.expectations if one.broken] == broken
    assert "rejected" in (layout.stage("validate") / "report.html").read_text()
    message = str(caught.value)
    assert caught.value.exit_code == 10
    assert "\n" not in message
    assert all(name in message for name in [*broken, ": hat, shoe"])


def test_a_critical_expectation_that_a_shop_declares_stops_and_a_warning_does_not(sound: Layout, tmp_path: Path) -> None:
    layout = again(sound, tmp_path)
    wanted = {"column": "short_side", "at_least": 41.0}
    assert validate(expecting(Bounds(**wanted)), layout).passed
    with pytest.raises(DataRejected, match=r"short_side at least 41: 40 to 40; 120 of 120 outside, .*: hat/000\.png"):
        validate(expecting(Bounds(**wanted, severity="critical")), layout)


def test_repeats_are_no_unusable_files(tmp_path: Path) -> None:
    again = [BadPhoto(path=f"hat/z{index}.png", category="hat", reason="DUPLICATE", detail="") for index in range(40)]
    report = validate(small_params(validate_={"max_duplicate_share": 0.1}), project(tmp_path, shots(), quarantined=again))
    assert report.passed
    assert found(report)["few duplicates"].broken
    assert found(report)["few unusable files"].passed
    assert len(report.quarantined) == 40


def test_doubtful_photos_are_warned_of_by_name_and_shown(tmp_path: Path) -> None:
    flat = np.full((48, 40, 3), 0, dtype=np.uint8)
    blurred = np.asarray(Image.fromarray(product(900, 40, 48)).filter(ImageFilter.GaussianBlur(9)))
    both = product(901, 160, 160)
    photos = [
        *shots(),
        Shot("hat/blurred.png", blurred),
        Shot("hat/black.png", flat),
        Shot("hat/white.png", flat + 255),
        Shot("hat/long.png", np.tile(product(902, 40, 48), (1, 9, 1))),
        Shot("hat/both.png", both),
        Shot("shoe/both.png", np.asarray(Image.fromarray(both).resize((120, 120)))),
    ]
    report = validate(
        expecting(
            Bounds(column="sharpness", at_least=5.0),
            Bounds(column="brightness", at_least=0.05, at_most=0.99, name="neither dark nor pale"),
            Bounds(column="fill", at_least=0.02),
        ),
        project(tmp_path, photos, radius=10, side=160),
    )
    assert report.passed
    broken = {one.name: one.offenders for one in report.expectations if one.broken}
    assert set(broken["sharpness at least 5"]) >= {"hat/black.png", "hat/white.png"}
    assert broken["neither dark nor pale"] == ("hat/black.png", "hat/white.png")
    assert broken["fill at least 0.02"] == ("hat/black.png", "hat/white.png")
    assert broken["aspect at most 4"] == ("hat/long.png",)
    assert broken["copies in one category"] == ("hat/both.png", "shoe/both.png")
    page = (tmp_path / "data" / "validate" / "report.html").read_text()
    assert "hat/long.png" in page
    assert "data:image/jpeg" in page


def test_attributes_are_held_to_their_words_and_their_coverage(tmp_path: Path) -> None:
    colours = ["red", "blue", "", "rd"]
    photos = [
        Shot(shot.path, shot.pixels, attributes={"colour": colours[index % 4]} if index % 4 != 2 else {})
        for index, shot in enumerate(shots())
    ]
    wanted = (Coverage(column="colour", coverage=0.8), OneOf(column="colour", one_of=("red", "blue")))
    report = found(validate(expecting(*wanted), project(tmp_path, photos, attributes=[COLOUR])))
    coverage, words = report["colour known for 0.8"], report["colour one of red, blue"]
    assert coverage.broken
    assert (coverage.observed, coverage.unexpected) == ("90 of 120 known", 30)
    assert (words.broken, words.unexpected) == (True, 30)


def test_an_attribute_that_was_not_ingested_is_refused_by_name(sound: Layout, tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match="the column 'colour' is missing"):
        validate(expecting(Coverage(column="colour", coverage=0.8, severity="critical")), again(sound, tmp_path))


def test_a_warning_of_an_attribute_that_is_not_declared_is_no_hindrance(sound: Layout, tmp_path: Path) -> None:
    report = validate(expecting(Coverage(column="colour", coverage=0.8)), again(sound, tmp_path))
    told = found(report)["colour known for 0.8"]
    assert (report.passed, told.applicable, told.observed) == (True, False, "ingest.attributes has no colour")


def expiring(*days: date | None) -> list[Shot]:
    rights = [{"expiry": day} if day else {} for day in days]
    return [Shot(one.path, one.pixels, rights=rights[index % len(days)]) for index, one in enumerate(shots())]


def test_rights_that_have_ended_stop_and_those_that_end_say_when(tmp_path: Path) -> None:
    soon = TODAY + timedelta(days=3)
    report = validate(small_params(), project(tmp_path / "a", expiring(None, soon, soon + timedelta(days=9))))
    assert (report.judged_on, report.valid_until) == (TODAY, soon)
    late = project(tmp_path / "b", expiring(None, TODAY, TODAY - timedelta(days=1)))
    with pytest.raises(DataRejected, match="expiry unexpired: 80 values; 40 of 80 outside, expected not past: "):
        validate(small_params(), late)
    assert ValidationReport.read(late.stage("validate") / "report.json").valid_until == TODAY - timedelta(days=1)


def test_without_an_expiry_no_day_is_in_the_report(sound: Layout) -> None:
    report = ValidationReport.read(sound.stage("validate") / "report.json")
    assert (report.judged_on, report.valid_until) == (None, None)
    assert any(isinstance(one, Unexpired) for one in small_params().validate_.expectations)
    assert str(TODAY) not in (sound.stage("validate") / "report.json").read_text()
    assert str(TODAY) not in (sound.stage("validate") / "report.html").read_text()


def test_drift_is_judged_against_the_champions_photos_and_only_there(sound: Layout, tmp_path: Path) -> None:
    params = expecting(Drift(drift="category", at_most=0.2))
    first = again(sound, tmp_path)
    drifts = ("drift of sharpness", "drift of category")
    idle = found(validate(params, first))
    assert all((idle[name].applicable, idle[name].passed) == (False, False) for name in drifts)
    assert "no champion" in idle[drifts[0]].observed

    catalog = Catalog.read(first.stage("ingest") / "catalog.json").digest
    keep_profile(first, first.stage("validate") / "profile.json")
    crown(first, catalog)
    assert "these very photos" in found(validate(params, first))[drifts[0]].observed

    blur = ImageFilter.GaussianBlur(3)
    softer = [Shot(f"soft/{one.path}", np.asarray(Image.fromarray(one.pixels).filter(blur)), "bag") for one in shots()]
    first.stage("ingest").unlink()
    second = project(tmp_path, [*softer, *shots(8)])
    report = validate(params, second)
    assert report.champion == catalog
    assert all(found(report)[name].broken for name in drifts), [found(report)[name] for name in drifts]
    assert Profile.read(second.stage("validate") / "profile.json").catalog == report.catalog


def test_a_champion_of_which_nothing_was_kept_is_said_so(sound: Layout, tmp_path: Path) -> None:
    layout = again(sound, tmp_path)
    crown(layout, "b" * 64)
    assert found(validate(small_params(), layout))["drift of sharpness"].observed == "nothing was kept of the champion's data"


def test_photos_in_the_wrong_category_are_named_and_left_where_they_are(tmp_path: Path) -> None:
    def stripes(index: int, *, level: bool) -> np.ndarray:
        chance = np.random.default_rng(index)
        waves = 127 + 100 * np.sin(np.arange(48) / chance.uniform(1.5, 3) + chance.uniform(0, 6))
        picture = np.tile(waves[:, None] if level else waves[None, :], (1, 48) if level else (48, 1))
        return (picture[:, :, None] + chance.normal(0, 12, (48, 48, 3))).clip(0, 255).astype(np.uint8)

    photos = [
        Shot(f"{'hat' if level else 'shoe'}/{i}.png", stripes(2 * i + level, level=level)) for i in range(60) for level in (0, 1)
    ]
    odd = Shot("hat/odd.png", stripes(999, level=False))
    wanted = Bounds(table="catalogue", column="suspected_share", at_most=0.001)
    report = validate(expecting(wanted), project(tmp_path, [*photos, odd]))
    assert [(one.path, one.likely) for one in report.suspicions] == [("hat/odd.png", "shoe")]
    assert report.suspicions[0].confidence > 0.5
    assert (report.suspected, report.photos, report.passed) == (1, 121, True)
    assert found(report)["suspected_share at most 0.001"].broken
    assert "hat/odd.png" in (tmp_path / "data" / "validate" / "report.html").read_text()


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    evil = [Shot(f"<script>alert(1)<\u2028/'\"><img src=x onerror=alert({i})>.png", product(7000 + i)) for i in range(10)]
    validate(small_params(), project(tmp_path, [*shots(), *evil]))
    page = (tmp_path / "data" / "validate" / "report.html").read_text()
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;" in page


def test_a_manifest_that_is_not_the_catalogues_is_refused(tmp_path: Path) -> None:
    layout = project(tmp_path / "a", shots())
    other = project(tmp_path / "b", shots(70))
    for path in other.stage("ingest").glob("*.parquet"):
        path.rename(layout.stage("ingest") / path.name)
    with pytest.raises(DataRejected, match="the manifest is whole: 40 to 40"):
        validate(small_params(), layout)
    strangers = pa.Table.from_pydict({"a": ["0" * 64], "b": ["1" * 64]}, schema=COPIES)
    write_copies(layout.stage("ingest") / "copies.parquet", strangers, 10)
    with pytest.raises(IntegrityError, match="copies of photos"):
        validate(small_params(), layout)


@pytest.mark.parametrize("place", ["validate.checked", "validate.page"])
def test_a_killed_run_leaves_no_report_and_the_next_one_finishes(sound: Layout, tmp_path: Path, place: str) -> None:
    layout = again(sound, tmp_path)
    shutil.copytree(sound.stage("validate"), layout.stage("validate"))
    report = layout.stage("validate") / "report.json"
    before = report.read_bytes()
    code = (
        "import sys; from pathlib import Path; from packshot.layout import Layout; from packshot.stages.validate import validate;"
        "from tests.stages.catalogues import small_params; validate(small_params(), Layout(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PACKSHOT_FAILPOINT": f"{place}:kill"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not report.exists()
    validate(small_params(), layout)
    assert report.read_bytes() == before
    assert json.loads(before)["passed"]
