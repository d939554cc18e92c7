from __future__ import annotations

import json
from pathlib import Path

import pytest

from packshot.catalog.show import PhotoFacts, draw_photo, find_photo, list_quarantined
from packshot.catalog.text import render, tell_photo, tell_quarantine
from packshot.errors import UsageError
from packshot.images.sheet import decode_png
from packshot.records import BadPhoto, Expectation, Suspicion, ValidationReport
from tests.catalog.conftest import BAD, EMPTY, Shop, make_shop
from tests.sources.ingested import Shot, product

STRANGE = "hat/a\n\u202e[bold]<b>.jpg"


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Six photos, two of them near-duplicates, four quarantined files, and a verdict that names one photo."""
    shop = make_shop(tmp_path_factory.mktemp("show") / "project")
    shots = [Shot(f"hat/{number}.jpg", product(number), attributes={"price": 3.5}) for number in range(4)]
    shots.append(Shot("hat/copy.jpg", product(0)[:, :, :] // 2 * 2, sku="A1", generation=3, rights={"licence": "own"}))
    shots.append(Shot(STRANGE, product(20)))
    again = BadPhoto(path="hat/again.jpg", category="hat", reason="DUPLICATE", detail="the same picture as hat/1.jpg")
    shop.ingest(shots, [BAD, EMPTY, again, again.model_copy(update={"path": "hat/more.jpg", "sha256": "ab" * 32})])
    catalog_digest = json.loads((shop.layout.stage("ingest") / "catalog.json").read_text())["digest"]
    broken = Expectation(
        name="sharp",
        column="sharpness",
        severity="warning",
        passed=False,
        observed="from 3 to 9",
        expected="at least 60",
        offenders=("hat/1.jpg",),
    )
    ValidationReport(
        passed=True,
        photos=6,
        expectations=(broken,),
        quarantined=(),
        suspicions=(Suspicion(path="hat/1.jpg", category="hat", likely="shoe", confidence=0.9),),
        suite="5" * 64,
        catalog=catalog_digest,
    ).write(shop.layout.stage("validate") / "report.json")
    return shop


def facts(shop: Shop, name: str) -> PhotoFacts:
    found = find_photo(shop.layout, name)
    assert isinstance(found, PhotoFacts)
    return found


def test_quarantine_is_listed_by_reason_the_most_frequent_first(stocked: Shop) -> None:
    told = list_quarantined(stocked.layout)
    assert told.reasons == (("DUPLICATE", 2), ("TRUNCATED", 1), ("EMPTY", 1))
    assert [bad.path for bad in told.files][:2] == ["hat/again.jpg", "hat/more.jpg"]
    assert [bad.path for bad in list_quarantined(stocked.layout, "empty").files] == ["shoe/none.jpg"]
    with pytest.raises(UsageError, match="there is DUPLICATE, EMPTY, TRUNCATED"):
        list_quarantined(stocked.layout, "BOMB")


def test_a_photo_is_found_by_path_by_digest_and_by_the_first_digits(stocked: Shop) -> None:
    by_path = facts(stocked, "hat/1.jpg")
    assert by_path == facts(stocked, by_path.sha256) == facts(stocked, by_path.sha256[:8].upper())


def test_a_strange_name_is_found_as_it_is_shown(stocked: Shop) -> None:
    shown = facts(stocked, STRANGE).path
    assert shown.isprintable()
    assert facts(stocked, shown).path == shown
    assert shown in render(tell_photo(facts(stocked, STRANGE)), terminal=False)


def test_all_that_is_known_of_a_photo_is_told(stocked: Shop) -> None:
    told = facts(stocked, "hat/copy.jpg")
    assert (told.sku, told.generation) == ("A1", 3)
    assert [copy.path for copy in told.copies] == ["hat/0.jpg"]
    assert next(fact.value for fact in told.rights if fact.name == "licence") == "own"
    other = facts(stocked, "hat/1.jpg")
    assert other.broken == ("sharp (warning): expected at least 60",)
    assert other.suspicion is not None
    assert other.split == "not prepared yet"
    assert next(fact.value for fact in other.attributes if fact.name == "price") == "3.5"
    assert len(other.measures) == len({fact.name for fact in other.measures}) >= 5


def test_a_quarantined_file_is_told_with_its_reason(stocked: Shop) -> None:
    assert find_photo(stocked.layout, "hat/torn.jpg") == BAD
    told = find_photo(stocked.layout, "ab" * 32)
    assert isinstance(told, BadPhoto)
    assert "DUPLICATE" in render(tell_photo(told), terminal=False)


def test_a_name_that_nobody_has_gets_the_nearest_ones(stocked: Shop) -> None:
    with pytest.raises(UsageError, match=r"hat/1\.jpg"):
        find_photo(stocked.layout, "1.jpg")
    with pytest.raises(UsageError, match="no photo is called"):
        find_photo(stocked.layout, "zzz")


def test_the_picture_shows_the_photo_and_its_copies(stocked: Shop, tmp_path: Path) -> None:
    draw_photo(stocked.layout, facts(stocked, "hat/1.jpg"), tmp_path / "one.png")
    draw_photo(stocked.layout, facts(stocked, "hat/0.jpg"), tmp_path / "two.png")
    one, two = (decode_png((tmp_path / name).read_bytes()) for name in ("one.png", "two.png"))
    assert two.shape[1] > 1.8 * one.shape[1]
    with pytest.raises(UsageError, match="no picture"):
        draw_photo(stocked.layout, BAD, tmp_path / "none.png")


def test_markup_in_a_name_is_text(stocked: Shop) -> None:
    bad = BadPhoto(path="hat/[red]:smile:.jpg", category="[bold]", reason="EMPTY", detail="[/]")
    told = list_quarantined(stocked.layout).model_copy(update={"files": (bad,), "reasons": (("EMPTY", 1),)})
    text = render(tell_quarantine(told), terminal=False)
    assert "hat/[red]:smile:.jpg" in text
    assert "[/]" in text


def test_json_reads_back_as_the_record(stocked: Shop) -> None:
    done = stocked.project.run("packshot", "catalog", "show", "hat/1.jpg", "--json")
    assert PhotoFacts.model_validate_json(done.stdout) == facts(stocked, "hat/1.jpg")
    listed = json.loads(stocked.project.run("packshot", "catalog", "show", "--json").stdout)
    assert listed["total"] == 4


@pytest.mark.parametrize("words", [["--picture", "x.png"], ["hat/1.jpg", "--reason", "EMPTY"]])
def test_mistakes_are_one_line(stocked: Shop, words: list[str]) -> None:
    done = stocked.project.run("packshot", "catalog", "show", *words, code=2)
    assert done.stderr.count("packshot: E2") == 1
    assert "Traceback" not in done.stderr
