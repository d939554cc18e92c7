"""The catalogue's report: it shows what it must, opens offline, stays small, and no name can break out of it."""

from __future__ import annotations

import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest

from packshot.images.manifest import read_copies, read_manifest
from packshot.records import Attribute, BadPhoto, Catalog, Expectation, Suspicion, ValidationReport
from packshot.sources import page
from packshot.sources.drift import Distribution, Profile, describe_column
from packshot.sources.folder import escape
from packshot.sources.overview import Bound
from packshot.sources.page import draw_page
from tests.sources.ingested import Shot, product, write_ingested

HOSTILE = (
    "hat/<script>alert(1)</script>.jpg",
    "hat/\"onerror='alert(1)'.jpg",
    "hat/&amp;\u202egpj.exe",
    "hat/line\nbreak.jpg",
    f"hat/{'long-name-' * 20}.jpg",
)
ATTRIBUTES = (
    Attribute(name="material", kind="label"),
    Attribute(name="price", kind="number"),
    Attribute(name="caption", kind="text"),
)


class Tags(HTMLParser):
    """What a browser would see: elements with their attributes, and whether they are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br", "rect", "line", "path", "circle"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parse(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    assert not tags.open
    return tags


class Made:
    """An ingested folder and a report on it."""

    def __init__(self, folder: Path, shots: list[Shot], bad: list[BadPhoto] | None = None) -> None:
        self.folder = folder
        self.catalog: Catalog = write_ingested(folder, shots, quarantined=bad or [], attributes=ATTRIBUTES)
        self.rows: pa.Table = read_manifest(folder / "manifest.parquet")
        self.copies: pa.Table = read_copies(folder / "copies.parquet")

    def draw(
        self,
        *expectations: Expectation,
        suspicions: tuple[Suspicion, ...] = (),
        bounds: tuple[Bound, ...] = (),
        champion: Profile | None = None,
    ) -> str:
        report = ValidationReport(
            passed=all(not one.broken or one.severity == "warning" for one in expectations),
            photos=self.rows.num_rows,
            expectations=expectations,
            quarantined=self.catalog.quarantined,
            suspicions=suspicions,
            suspected=len(suspicions),
            suite="5" * 64,
            catalog=self.catalog.digest,
        )
        return draw_page(report, self.catalog, self.rows, self.copies, self.folder, bounds=bounds, champion=champion)


def broken(column: str, *offenders: str, severity: str = "warning") -> Expectation:
    return Expectation.model_validate(
        {
            "name": f"{column} is right",
            "column": column,
            "severity": severity,
            "passed": False,
            "observed": "from 1 to 9",
            "expected": "at least 60",
            "unexpected": len(offenders),
            "offenders": offenders,
        }
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    shots = [
        Shot(name, product(number), attributes={"material": "<b>wool</b>", "price": float(number), "caption": "x" * number})
        for number, name in enumerate(HOSTILE)
    ]
    shots += [Shot(f"shoe/{number}.jpg", product(100 + number), rights={"licence": "own"}) for number in range(6)]
    shots.append(Shot("shoe/copy.jpg", product(100) // 2 * 2))
    bad = [
        BadPhoto(path="hat/<img src=x onerror=alert(1)>.jpg", category="<i>", reason="EMPTY", detail="a file of <u>no</u> bytes"),
        BadPhoto(path="shoe/again.jpg", category="shoe", reason="DUPLICATE", detail="the same picture as shoe/1.jpg"),
        BadPhoto(path="hat/again.jpg", category="hat", reason="CONFLICT", detail="the same picture as shoe/2.jpg of 'shoe'"),
    ]
    return Made(tmp_path_factory.mktemp("page") / "ingest", shots, bad)


def test_no_name_breaks_out_of_the_page(made: Made) -> None:
    offenders = tuple(escape(name) for name in HOSTILE)
    suspicion = Suspicion(path=offenders[0], category="<i>", likely="</td><script>", confidence=0.9)
    tags = parse(made.draw(broken("sharpness", *offenders), broken("category", "<script>x</script>"), suspicions=(suspicion,)))
    names = {tag for tag, _ in tags.seen}
    assert not names & {"script", "iframe", "object", "i", "u", "link"}
    assert not [attribute for _, told in tags.seen for attribute in told if attribute.startswith("on")]
    assert {escape(name) for name in HOSTILE} <= {told.get("alt") for tag, told in tags.seen if tag == "img"}


def test_nothing_on_the_page_comes_from_outside(made: Made) -> None:
    text = made.draw(broken("sharpness", "shoe/1.jpg"))
    assert not re.search(r"https?://|//[a-z]+\.|@import|url\(", text)
    for tag, told in parse(text).seen:
        assert "href" not in told
        assert tag != "img" or str(told["src"]).startswith("data:image/jpeg;base64,")


def test_the_same_catalogue_gives_the_same_page(made: Made) -> None:
    expectation = broken("sharpness", "shoe/1.jpg", "shoe/2.jpg")
    assert made.draw(expectation) == made.draw(expectation)


def test_an_offender_is_shown_with_its_value(made: Made) -> None:
    text = made.draw(broken("short_side", "shoe/3.jpg", severity="critical"))
    assert "rejected" in text
    assert re.search(r'alt="shoe/3\.jpg"[^>]*><figcaption><b>32</b>', text)


def test_a_refused_repeat_shows_the_photo_that_was_kept(made: Made) -> None:
    text = made.draw()
    for name in ("shoe/again.jpg", "hat/again.jpg"):
        assert f'<img alt="{name}"' in text


def test_near_duplicates_stand_side_by_side(made: Made) -> None:
    assert made.copies.num_rows == 1
    section = made.draw().split("<h2>Near-duplicates</h2>")[1].split("<h2>")[0]
    assert {"shoe/0.jpg", "shoe/copy.jpg"} == set(re.findall(r'alt="([^"]*)"', section))


def test_bounds_are_drawn_and_what_lies_outside_is_counted(made: Made) -> None:
    text = made.draw(bounds=(Bound("short_side", at_least=40.0), Bound("brightness", at_least=0.0, at_most=1.0)))
    assert "at least 40 · outside: 12 (100 %)" in text
    assert "0 to 1 · outside: 0 (0 %)" in text
    assert 'class="out"' in text


def test_drift_names_what_moved_and_leaves_the_rest(made: Made) -> None:
    same = describe_column("fill", made.rows["fill"].to_pandas(), "number")
    moved = describe_column("brightness", made.rows["brightness"].to_pandas() + 5.0, "number")
    other = Distribution(column="category", kind="label", values=("bag",), counts=(12, 0, 0))
    gone = Distribution(column="pattern", kind="label", values=("dots",), counts=(12, 0, 0))
    champion = Profile(catalog="a" * 64, photos=12, columns=(same, moved, other, gone))
    section = made.draw(champion=champion).split("<h2>Drift</h2>")[1].split("<h2>")[0]
    index = {
        name: float(value) for name, value in re.findall(r"<td>(?:<b>)?(\w+)(?:</b>)?</td><td class=number>([\d.]+)", section)
    }
    assert list(index) == sorted(index, key=lambda name: -index[name])
    assert index["fill"] == 0.0
    assert min(index["brightness"], index["category"]) > 1.0
    assert "pattern" not in section
    assert "<h2>Drift</h2>" not in made.draw()


def test_what_cannot_be_held_against_anything_is_neither_kept_nor_broken(made: Made) -> None:
    idle = Expectation(
        name="drift", severity="warning", passed=True, applicable=False, observed="no champion", expected="at most 0.25"
    )
    text = made.draw(idle)
    assert "0 of 0" in text
    assert "not applicable" in text


def test_attributes_and_rights_tell_their_coverage(made: Made) -> None:
    text = made.draw()
    assert "&lt;b&gt;wool&lt;/b&gt;" in text
    assert "41.7 % of photos" in text
    assert "from 0 to 4, median 2" in text
    assert 'own <span class="soft">6</span>' in text


def test_nothing_known_of_rights_is_said_in_one_line(tmp_path: Path) -> None:
    assert "Nothing is known of licence" in Made(tmp_path, [Shot("hat/a.jpg", product(1))]).draw()


def test_expiry_shows_its_first_and_last_day(tmp_path: Path) -> None:
    shots = [Shot(f"hat/{day}.jpg", product(day), rights={"expiry": date(2030, 1, day), "consent": True}) for day in (1, 9)]
    text = Made(tmp_path, shots).draw()
    assert "from 2030-01-01 to 2030-01-09" in text
    assert 'true <span class="soft">2</span>' in text


def test_an_empty_catalogue_has_a_page(tmp_path: Path) -> None:
    parse(Made(tmp_path, []).draw(broken("photos", severity="critical")))


def test_the_page_is_bounded_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST_PICTURES", 40)
    names = [f"c{number % 30:02}/{number}.jpg" for number in range(120)]
    bad = [BadPhoto(path=f"x/{number}.jpg", category="x", reason="EMPTY", detail="a file of no bytes") for number in range(500)]
    one = Made(tmp_path, [Shot(name, product(number)) for number, name in enumerate(names)], bad)
    text = one.draw(broken("sharpness", *names), broken("fill", *names))
    assert text.count("data:image/jpeg") == 40
    assert "no picture" in text
    assert "at most 40 pictures" in text
    assert "and 96 more" in text
    assert "440 more: packshot catalog show --reason EMPTY" in text
