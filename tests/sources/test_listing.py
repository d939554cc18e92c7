from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest

from packshot.records import Attribute, BadPhoto
from packshot.sources.base import File, Photo, Rights, Source
from packshot.sources.cells import Cell
from packshot.sources.listing import learn_stamps, list_photos, offer_again
from packshot.sources.stamps import Stamps
from tests.images.files import png, product
from tests.sources.drawings import draw

COLOUR = (Attribute(name="colour", kind="label"), Attribute(name="price", kind="number"))


class Shelf(Source):
    """A source that offers what it is told to, and can change its mind."""

    kind: Literal["shelf"] = "shelf"
    offers: ClassVar[list[Photo | BadPhoto]] = []

    def describe(self) -> str:
        return "a shelf"

    def attribute_names(self, root: Path) -> frozenset[str]:
        return frozenset({"colour", "price"})

    def photos(self, root: Path) -> Iterator[Photo | BadPhoto]:
        yield from self.offers


@pytest.fixture
def index(tmp_path: Path) -> Stamps:
    return Stamps(tmp_path / "files.stamps")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    Shelf.offers = []
    for number in range(6):
        path = tmp_path / f"{number}.PNG"
        path.write_bytes(png(product(number)))
        said = {"colour": "red", "price": f"{number}.5"}
        rights = Rights(licence="ours", consent=True)
        photo = Photo(name=f"hat/{number}.png", category="hat", content=File(path), sku="A", rights=rights, attributes=said)
        Shelf.offers.append(photo)
    return Shelf()


def test_the_table_says_what_the_source_says(shelf: Shelf, index: Stamps, tmp_path: Path) -> None:
    bad = BadPhoto(path="hat/x.gif", category="hat", reason="FORMAT", detail="no")
    drawn = Photo(name="hat/drawn", category="hat", content=partial(draw, 1), attributes={"price": "much"})
    Shelf.offers = [
        *Shelf.offers,
        bad,
        Photo(name="hat/announced", category="hat", content=partial(draw, 2), sha256="a" * 64),
        drawn,
    ]
    listing = list_photos(shelf, COLOUR, tmp_path, index, hashing=False)
    rows = listing.table.to_pylist()
    assert [row["path"] for row in rows] == [*(f"hat/{number}.png" for number in range(6)), "hat/announced"]
    assert [(row["colour"], row["price"], row["suffix"]) for row in rows[1:3]] == [("red", 1.5, ".png"), ("red", 2.5, ".png")]
    assert (rows[0]["licence"], rows[0]["consent"], rows[0]["expiry"], rows[0]["sku"]) == ("ours", True, None, "A")
    assert listing.names.tolist() == [b""] * 6 + [b"a" * 64]
    assert [one.reason for one in listing.refused] == ["FORMAT", "ATTRIBUTE"]


def test_bytes_without_a_name_that_cannot_be_read_are_listed_all_the_same(shelf: Shelf, index: Stamps, tmp_path: Path) -> None:
    gone = Photo(name="row-0000001", category="hat", content=Cell(tmp_path / "gone.parquet", "photo", 0))
    Shelf.offers = [gone, *Shelf.offers]
    listing = list_photos(shelf, (), tmp_path, index, hashing=True)
    assert listing.table["suffix"].to_pylist() == ["", *[".png"] * 6]
    assert listing.names[0] == b""


def test_files_are_hashed_where_it_is_worth_it_and_young_stamps_are_not_trusted(
    shelf: Shelf, index: Stamps, tmp_path: Path
) -> None:
    expected = [hashlib.sha256(png(product(number))).hexdigest().encode() for number in range(6)]
    listing = list_photos(shelf, COLOUR, tmp_path, index, hashing=True)
    assert listing.names.tolist() == expected
    learn_stamps(listing, listing.names, index)
    known = list_photos(shelf, COLOUR, tmp_path, Stamps(tmp_path / "files.stamps"), hashing=False)
    assert set(known.names.tolist()) == {b""}, "they were written just now"


def test_only_the_wanted_are_offered_again_each_with_its_place(shelf: Shelf, index: Stamps, tmp_path: Path) -> None:
    listing = list_photos(shelf, COLOUR, tmp_path, index, hashing=False)
    wanted = np.array([False, True, False, False, True, True])
    again = list(offer_again(shelf, COLOUR, tmp_path, listing, wanted))
    assert [(place, item.name) for place, item in again if isinstance(item, Photo)] == [
        (1, "hat/1.png"),
        (4, "hat/4.png"),
        (5, "hat/5.png"),
    ]
    assert wanted.tolist() == [False, True, False, False, True, True], "it is not used up"


def test_a_source_that_moves_between_is_followed_by_name(shelf: Shelf, index: Stamps, tmp_path: Path) -> None:
    listing = list_photos(shelf, COLOUR, tmp_path, index, hashing=False)
    new = Photo(name="hat/new.png", category="hat", content=partial(draw, 1))
    Shelf.offers = [new, *(Shelf.offers[place] for place in (0, 5, 2, 4, 1))]
    again = list(offer_again(shelf, COLOUR, tmp_path, listing, np.ones(6, dtype=np.bool_)))
    assert [place for place, _ in again] == [0, 5, 2, 4, 1, 3]
    assert all(item.name == f"hat/{place}.png" for place, item in again if isinstance(item, Photo))
    (gone,) = [item for _, item in again if isinstance(item, BadPhoto)]
    assert (gone.path, gone.reason) == ("hat/3.png", "UNREADABLE")
