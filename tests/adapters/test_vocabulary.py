"""The suite of params.yaml and packshot's own expectations, each with photos that keep it and photos that break it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from packshot.adapters.expectations import Table, check
from packshot.images.measure import measure
from packshot.params import load_params
from packshot.records import Expectation
from packshot.sources.drift import describe_catalog
from packshot.sources.expected import Judged, Newcomers, Rule
from packshot.sources.rules import catalog_rules, category_rules, photo_rules, table_columns

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
KINDS = table_columns("photos", PARAMS.ingest.attributes)
TODAY = date(2026, 5, 1)
PHOTOS = 200
Picture = np.ndarray


def product(seed: int) -> Picture:
    """A thing in colours before a light backdrop, with some structure of its own."""
    chance = np.random.default_rng(seed)
    picture = np.full((96, 96, 3), 246, dtype=np.uint8) - chance.integers(0, 4, (96, 96, 1), dtype=np.uint8)
    top, left, height, width = (int(value) for value in chance.integers((12, 12, 40, 40), (24, 24, 60, 60)))
    shade = np.linspace(0.4, 1.0, width)[None, :, None] * chance.integers(60, 200, 3)
    picture[top : top + height, left : left + width] = shade + chance.integers(-12, 12, (height, width, 1))
    return picture


def blurred(seed: int) -> Picture:
    return np.asarray(Image.fromarray(product(seed)).filter(ImageFilter.GaussianBlur(9)))


def flat(tone: int) -> Callable[[int], Picture]:
    return lambda seed: np.full((96, 96, 3), tone, dtype=np.uint8)


def garish(seed: int) -> Picture:
    """Nothing but full red, green and blue."""
    return (255 * np.eye(3, dtype=np.uint8))[np.random.default_rng(seed).integers(0, 3, (96, 96))]


def sloped(seed: int) -> Picture:
    return np.tile(np.linspace(0, 255, 96).astype(np.uint8)[:, None, None], (1, 96, 3))


def framed(seed: int) -> Picture:
    """A frame drawn around everything."""
    picture = np.full((96, 96, 3), 240, dtype=np.uint8)
    picture[0], picture[-1], picture[:, 0], picture[:, -1] = 10, 10, 10, 10
    return picture


@lru_cache(maxsize=1)
def good() -> pd.DataFrame:
    """Photos that keep the whole suite."""
    chance = np.random.default_rng(1)
    rows = [asdict(measure(product(seed))) for seed in range(PHOTOS)]
    number = np.arange(PHOTOS)
    return pd.DataFrame(rows).assign(
        sha256=[f"{index:064x}" for index in number],
        pixels=[f"{index + PHOTOS:064x}" for index in number],
        path=[f"hat/{index}.png" for index in number],
        category=np.array(["hat", "shoe"], dtype=object)[number % 2],
        sku=pd.Series([None] * PHOTOS, dtype=object),
        format=pd.Series(["PNG"] * PHOTOS, dtype=object),
        width=chance.integers(300, 500, PHOTOS),
        height=chance.integers(300, 500, PHOTOS),
        short_side=chance.integers(300, 500, PHOTOS),
        aspect=chance.uniform(1, 1.6, PHOTOS).round(4),
        file_bytes=chance.integers(5_000, 50_000, PHOTOS),
        generation=1,
        copies=1,
        copy_group=np.nan,
        licence=pd.Series(["CC0"] * PHOTOS, dtype=object),
        source=pd.Series(["studio"] * PHOTOS, dtype=object),
        consent=pd.Series([True] * PHOTOS, dtype=object),
        expiry=pd.Series([None, TODAY] * (PHOTOS // 2), dtype=object),
        colour=np.array(["red", "blue", "green"], dtype=object)[chance.integers(0, 3, PHOTOS)],
        pattern=pd.Series(["plain", "dotted"] * (PHOTOS // 2), dtype=object),
        caption=pd.Series(["a hat"] * PHOTOS, dtype=object),
    )


CATEGORIES = pd.DataFrame({"category": ["hat", "shoe"], "photos": [100, 100], "share": [0.5, 0.5]})
CATALOGUE = pd.DataFrame(
    {"source": ["drawn"], "quarantined_share": [0.0], "duplicate_share": [0.0], "suspected_share": [0.0], "missing_photos": [0]}
)


def judged() -> Judged:
    kinds = {name: kind for name, kind in KINDS.items() if kind in {"number", "label"}}
    profile = describe_catalog("e" * 64, good(), kinds)  # type: ignore[arg-type]
    return Judged(TODAY, profile, attributes=PARAMS.ingest.attributes)


def suite() -> list[Table]:
    return [
        Table("photos", good(), "path", photo_rules(PARAMS.validate_, judged())),
        Table("categories", CATEGORIES, "category", category_rules(PARAMS.validate_, judged())),
        Table("catalogue", CATALOGUE, "source", catalog_rules(PARAMS.validate_, judged())),
    ]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Expectation]:
    """What the suite says of good photos, by the name of the rule."""
    tables = [Table(one.name, one.frame, one.label, _fewer(one.rules)) for one in suite()]
    return {one.name: one for one in check(tables, tmp_path_factory.mktemp("docs"))}


def _fewer(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The photos of these tests are two hundred."""
    return tuple(rule for rule in rules if rule.name != "enough photos") + (
        (Rule("some photos", "rows", low=1),) if rules[0].name == "enough photos" else ()
    )


def pictures(draw: Callable[[int], Picture]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Every fifth photo shows something else."""

    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        for row in range(0, PHOTOS, 5):
            for name, value in asdict(measure(draw(row))).items():
                frame.loc[row, name] = value
        return frame

    return spoil


def cells(column: str, value: object, every: int = 5) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        values = frame[column].astype(object)
        values[::every] = [value] * len(values[::every])
        return frame.assign(**{column: values if not isinstance(value, int | float) else values.astype(float)})

    return spoil


def moved(column: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """The column's numbers are others; its words are others."""
    return lambda frame: frame.assign(**{column: 2 * frame[column] + 3.7 if KINDS[column] == "number" else "other"})


SPOILED: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "short_side at least 64": cells("short_side", 40),
    "aspect at most 4": cells("aspect", 6.5),
    "file_bytes at most 20000000": cells("file_bytes", 30_000_000),
    "sharpness at least 60 for 0.99 of them": pictures(blurred),
    "brightness from 0.1 to 0.98": pictures(flat(3)),
    "shadows at most 0.5 for 0.99 of them": pictures(flat(2)),
    "highlights at most 0.9 for 0.99 of them": pictures(flat(255)),
    "contrast at least 0.03": pictures(flat(120)),
    "entropy at least 3 for 0.99 of them": pictures(flat(120)),
    "colourfulness at most 160 for 0.99 of them": pictures(garish),
    "uniformity at least 0.4 for 0.95 of them": pictures(sloped),
    "fill from 0.05 to 0.98 for 0.99 of them": pictures(flat(240)),
    "border_touch at most 0.9 for 0.95 of them": pictures(framed),
    "copies at most 20": cells("copies", 21),
    "category evenness at least 0.7": lambda frame: frame.assign(category=["hat"] * (PHOTOS - 5) + ["shoe"] * 5),
    "share from 0.01 to 0.6": lambda frame: frame.assign(share=[0.995, 0.005]),
    "suspected_share at most 0.05": lambda frame: frame.assign(suspected_share=0.06),
    "expiry unexpired": cells("expiry", TODAY - timedelta(days=1)),
    "colour known for 0.9": cells("colour", None),
    "pattern known for 0.9": cells("pattern", None),
    "pattern is a known one": cells("pattern", "paisley"),
    "caption known for 0.9": cells("caption", None),
    "copies in one category": lambda frame: frame.assign(copy_group=np.where(frame.index < 2, 0.0, np.nan)),
    "each photo once": cells("sha256", "f" * 64),
    "each picture once": cells("pixels", "f" * 64),
    "each name once": cells("path", "hat/again.png"),
    "a digest for an id": cells("sha256", "not hexadecimal\n"),
    "a known format": cells("format", "GIF"),
    "few unusable files": lambda frame: frame.assign(quarantined_share=0.03),
    "few duplicates": lambda frame: frame.assign(duplicate_share=0.2),
    "the manifest is whole": lambda frame: frame.assign(missing_photos=1),
    "enough photos of each category": lambda frame: frame.assign(photos=[100, 39]),
    "each category once": lambda frame: frame.assign(category=["hat", "hat"]),
    **{f"drift of {one.about}": moved(one.about) for one in PARAMS.validate_.expectations if hasattr(one, "drift")},
}


def test_the_suite_of_the_repository_has_twenty_expectations_and_more_and_each_is_tried_here() -> None:
    declared = [rule.name for one in suite() for rule in one.rules if rule.check not in {"rows", "not_null"} or rule.share < 1]
    assert len(PARAMS.validate_.expectations) >= 20
    assert set(declared) - {"a width", "a height", "some bytes"} == set(SPOILED)


@pytest.mark.parametrize("name", SPOILED)
def test_good_photos_keep_it(kept: dict[str, Expectation], name: str) -> None:
    assert kept[name].passed, kept[name]
    assert kept[name].applicable


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Rule, Expectation]]:
    """What each rule says of photos that are spoiled for it, by its name; each rule has a column of its own."""
    tables, rules = [], {}
    for table in suite():
        frame, tried = table.frame[[table.label]].copy(), [Rule(f"{table.name}: rows", "rows", low=1)]
        for number, rule in enumerate(rule for rule in table.rules if rule.name in SPOILED):
            spoiled = SPOILED[rule.name](table.frame.copy())
            own = replace(rule, column=f"column {number}", group=rule.group and f"group {number}")
            frame[own.column] = spoiled[rule.column]
            if rule.group:
                frame[own.group] = spoiled[rule.group]
            tried += [Rule(f"{table.name}: {number}", "not_null", own.column, share=0.1), own]
            rules[rule.name] = own
        tables.append(Table(table.name, frame, table.label, tuple(tried)))
    found = check(tables, tmp_path_factory.mktemp("docs"))
    return {one.name: (rules[one.name], one) for one in found if one.name in rules}


@pytest.mark.parametrize("name", SPOILED)
def test_spoiled_photos_break_it(broken: dict[str, tuple[Rule, Expectation]], name: str) -> None:
    rule, found = broken[name]
    assert found.broken, found
    assert found.expected
    by_row = rule.check not in {"stable", "even"}
    assert bool(found.offenders) == by_row
    assert found.unexpected == len(found.offenders) if by_row else found.unexpected == 0


def one_rule(tmp_path: Path, rule: Rule, **columns: object) -> Expectation:
    frame = pd.DataFrame({"path": [f"p{index}" for index in range(4)], **columns})
    guards = tuple(Rule(f"{column} guard", "not_null", column, share=0.1) for column in columns)
    return check([Table("one", frame, "path", (Rule("rows", "rows", low=1), *guards, rule))], tmp_path)[-1]


def test_the_last_day_of_a_right_is_still_one(tmp_path: Path) -> None:
    rule = Rule("valid", "unexpired", "expiry", day=TODAY)
    days = pd.Series([TODAY, None, TODAY - timedelta(days=1), date.max], dtype=object)
    found = one_rule(tmp_path, rule, expiry=days)
    assert (found.unexpected, found.offenders) == (1, ("p2",))


def test_copies_of_one_category_and_photos_without_copies_are_passed_over(tmp_path: Path) -> None:
    rule = Rule("alike", "one_in_group", "category", group="copy_group")
    apart = one_rule(tmp_path, rule, category=["hat", "hat", "hat", "shoe"], copy_group=[0, 0, 2, 2])
    assert (apart.unexpected, apart.offenders) == (2, ("p2", "p3"))
    assert one_rule(tmp_path, rule, category=["hat", "hat", "hat", "shoe"], copy_group=[0.0, 0.0, np.nan, np.nan]).passed


def test_evenness_is_pielous(tmp_path: Path) -> None:
    rule = Rule("even", "even", "category", low=0.81)
    found = one_rule(tmp_path, rule, category=["a", "a", "a", "b"])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(2)
    assert found.observed == f"{entropy:.3f}"
    assert found.passed == (entropy >= 0.81)
    assert one_rule(tmp_path, rule, category=["a"] * 4).passed  # one category is as even as can be


def test_without_a_champion_drift_is_neither_kept_nor_broken(tmp_path: Path) -> None:
    rule = Rule("drift of x", "stable", "x", "critical", high=0.2, absent="there is no champion yet")
    found = one_rule(tmp_path, rule, x=[1.0, 2.0, 3.0, 4.0])
    assert (found.applicable, found.passed, found.broken) == (False, False, False)
    assert found.observed == "there is no champion yet"


def test_a_column_without_a_single_value_is_neither_even_nor_the_same(tmp_path: Path) -> None:
    empty = pd.Series([None] * 4, dtype=object)
    assert one_rule(tmp_path, Rule("even", "even", "category", low=0.1), category=empty).broken
    before = describe_catalog("e" * 64, pd.DataFrame({"colour": ["red"] * 40}), {"colour": "label"}).columns[0]
    assert one_rule(tmp_path, Rule("drift", "stable", "colour", high=0.2, reference=before), colour=empty).broken


@pytest.mark.parametrize(("known", "newcomers"), [(["Smith", "Jones"], 1), (["Smith"], 2), ([None, None], 4)])
def test_photos_of_a_source_that_the_champion_did_not_have_are_named(
    tmp_path: Path, known: list[str | None], newcomers: int
) -> None:
    before = describe_catalog("e" * 64, pd.DataFrame({"source": pd.Series(known, dtype=object)}), {"source": "label"})
    rule = Newcomers(new="source", at_most=0.25, severity="critical").rule(Judged(TODAY, before))
    found = one_rule(tmp_path, rule, source=["Smith", "Smith", "Jones", "Unheard-of"])
    assert found.unexpected == newcomers
    assert found.offenders == ("p0", "p1", "p2", "p3")[4 - newcomers :]
    assert found.broken == (newcomers > 1)


def test_without_a_champion_no_source_is_new(tmp_path: Path) -> None:
    found = one_rule(tmp_path, Newcomers(new="source", at_most=0.0).rule(Judged(TODAY)), source=["Smith"] * 4)
    assert (found.applicable, found.broken) == (False, False)
