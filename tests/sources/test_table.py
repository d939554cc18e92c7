from __future__ import annotations

import csv
import io
import json
import os
import pickle
import unicodedata
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packshot.errors import DataRejected, UsageError
from packshot.images.decode import PictureError
from packshot.records import BadPhoto
from packshot.sources.base import File, Photo, Rights
from packshot.sources.cells import Cell, sniff_suffix
from packshot.sources.table import Table, attribute_name
from tests.images.files import jpeg, png, product, webp


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"content")


def shop(root: Path, text: str | bytes, *names: str) -> Path:
    """A shop's folder with products.csv and some files."""
    put(root / "shop", *names)
    (root / "shop").mkdir(exist_ok=True)
    (root / "shop" / "products.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def table(**columns: str) -> Table:
    named = {"image": "image", "category": "category", **columns}
    return Table(kind="table", path="shop", table="products.csv", **named)


def listed(root: Path, **columns: str) -> list[Photo | BadPhoto]:
    return list(table(**columns).photos(root))


def reasons(items: list[Photo | BadPhoto]) -> dict[str, str]:
    return {item.path: item.reason for item in items if isinstance(item, BadPhoto)}


def photos(items: list[Photo | BadPhoto]) -> list[Photo]:
    return [item for item in items if isinstance(item, Photo)]


def test_a_row_is_a_photo_with_all_that_the_shop_knows_of_it(tmp_path: Path) -> None:
    text = (
        "Id,image,category,Colour,Price (EUR),licence,by,agreed,until,came\n"
        "A1,images/a.jpg,hat,red,12.50,CC-BY,Studio X,yes,2030-01-31,2024-02-01\n"
        "A1,./images/b.JPEG,hat,,,,,,,2024-01-01\n"
        'B7,images/c.png,"shoe, low",blue,7,own,,no,,2024-02-01\n'
    )
    shop(tmp_path, text, "images/a.jpg", "images/b.JPEG", "images/c.png")
    found = listed(tmp_path, sku="Id", licence="licence", source="by", consent="agreed", expiry="until", added="came")
    assert not reasons(found)
    first, second, third = photos(found)
    folder = tmp_path / "shop" / "images"
    rights = Rights("CC-BY", "Studio X", True, date(2030, 1, 31))
    said = {"colour": "red", "price_eur": "12.50"}
    assert first == Photo("images/a.jpg", "hat", File(folder / "a.jpg"), "A1", rights, said, 2)
    assert (second.name, second.generation, second.rights) == ("images/b.JPEG", 1, Rights())
    assert (third.category, third.sku, third.rights.consent, third.attributes["price_eur"]) == ("shoe, low", "B7", False, "7")
    assert table(sku="Id", expiry="until").attribute_names(tmp_path) == {"colour", "price_eur", "licence", "by", "agreed", "came"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_any_csv_that_a_spreadsheet_writes_is_read(tmp_path: Path, delimiter: str, start: str, end: str) -> None:
    lines = [
        ["image", "category", "note"],
        ["a.jpg", "платье", f'"the {delimiter} best", they say'],
        [],
        ["b.jpg", "été", "x;y,z\tw"],
    ]
    sink = io.StringIO()
    csv.writer(sink, delimiter=delimiter, lineterminator=end).writerows(lines)
    shop(tmp_path, start + sink.getvalue(), "a.jpg", "b.jpg")
    found = [(item.name, item.category, item.attributes["note"]) for item in photos(listed(tmp_path))]
    assert found == [(lines[1][0], lines[1][1], lines[1][2]), (lines[3][0], lines[3][1], lines[3][2])]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=20)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=8), delimiter=st.sampled_from(",;\t"), quoting=st.sampled_from([0, 1]))
def test_what_a_csv_writer_wrote_is_read_as_it_was(
    tmp_path: Path, rows: list[tuple[str, str]], delimiter: str, quoting: int
) -> None:
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=delimiter, quoting=csv.QUOTE_ALL if quoting else csv.QUOTE_MINIMAL)
    writer.writerow(["image", "category", "one", "two"])
    writer.writerows([f"{index}.jpg", "hat", *cells] for index, cells in enumerate(rows))
    put(tmp_path / "shop", *(f"{index}.jpg" for index in range(len(rows))))
    (tmp_path / "shop").mkdir(exist_ok=True)
    (tmp_path / "shop" / "products.csv").write_text(sink.getvalue(), encoding="utf-8", newline="")
    if not rows:
        with pytest.raises(DataRejected, match="no row"):
            listed(tmp_path)
        return
    assert [(item.attributes["one"], item.attributes["two"]) for item in photos(listed(tmp_path))] == rows


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "the table is empty"),
        (b"\xef\xbb\xbf", "the table is empty"),
        (b"picture,category\na.jpg,hat\n", "no column 'image'.*its columns are 'picture', 'category'"),
        (b"image;kind;sku\na.jpg;hat;1\n", "no column 'category'.*its columns are 'image', 'kind', 'sku'"),
        (b"image,category,image\na.jpg,hat,b.jpg\n", "two columns are called 'image'"),
        (b"image,category,Price (EUR),price-eur\na.jpg,hat,1,2\n", "would both be the attribute 'price_eur'"),
        ("image,category\na.jpg,Schürze\n".encode("latin-1"), "not UTF-8.*CSV UTF-8"),
        ("image,category\na.jpg,hat\n".encode("utf-16"), "not UTF-8"),
        (b'image,category\na.jpg,hat\n"b.jpg,hat\nc.jpg,hat\n', "not CSV.*from line 3.*must be closed"),
        (b'image,category\na.jpg,"hat" or so\n', "not CSV.*from line 2"),
        (b'image,category,note\na.jpg,hat,"' + b"x" * 140_000 + b'"\n', "not CSV.*from line 2"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_with_its_place(tmp_path: Path, text: bytes, told: str) -> None:
    shop(tmp_path, text, "a.jpg", "b.jpg", "c.jpg")
    with pytest.raises(UsageError, match=f"(?s){told}") as caught:
        listed(tmp_path)
    assert "products.csv" in str(caught.value)


def test_a_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such folder or table.*ingest\.source\.path"):
        listed(tmp_path)
    (tmp_path / "shop").mkdir()
    with pytest.raises(UsageError, match="there is no such table"):
        listed(tmp_path)
    with pytest.raises(UsageError, match=r"ingest\.source\.table"):
        list(Table(kind="table", path="shop", image="image", category="category").photos(tmp_path))
    shop(tmp_path, "image,category\na.jpg,hat\n")
    with pytest.raises(UsageError, match="holds no photos but names them"):
        list(Table(kind="table", path="shop/products.csv", image="image", category="category").photos(tmp_path))


def test_paths_that_lead_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "secret.jpg", "outside/deep/a.jpg")
    names = ["/etc/passwd.jpg", "../secret.jpg", "images/../../secret.jpg", "link.jpg", "linked/deep/a.jpg", "C:\\photos\\a.jpg"]
    names += ["https://example.org/a.jpg", "images\\a.jpg", " "]
    text = "image,category\n" + "".join(f"{name},hat\n" for name in names) + "images/a.jpg,hat\n"
    shop(tmp_path, text, "images/a.jpg")
    (tmp_path / "shop" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "shop" / "linked").symlink_to(tmp_path / "outside")
    found = listed(tmp_path)
    assert [photo.name for photo in photos(found)] == ["images/a.jpg"]
    assert reasons(found) == dict.fromkeys(names, "PATH")


def test_rows_that_are_no_photos_are_refused_one_by_one(tmp_path: Path) -> None:
    text = (
        "image,category,until\n"
        "a.jpg,hat,\n"
        "a.jpg,shoe,\n"
        "./a.jpg,hat,\n"
        "absent.jpg,hat,\n"
        "folder.jpg,hat,\n"
        "pipe.jpg,hat,\n"
        "b.gif,hat,\n"
        "c.jpg,,\n"
        "d.jpg,two\u2028lines,\n"
        "e.jpg,hat,soon\n"
        "f.jpg,hat\n"
        "g.jpg,hat,,extra\n"
    )
    shop(tmp_path, text, "a.jpg", "b.gif", "c.jpg", "d.jpg", "e.jpg", "f.jpg", "g.jpg", "folder.jpg/x.txt")
    os.mkfifo(tmp_path / "shop" / "pipe.jpg")
    found = listed(tmp_path, expiry="until")
    assert [photo.name for photo in photos(found)] == ["a.jpg"]
    told = [(item.path, item.reason) for item in found if isinstance(item, BadPhoto)]
    assert told == [
        ("a.jpg", "DUPLICATE_ROW"),
        ("a.jpg", "DUPLICATE_ROW"),
        ("absent.jpg", "MISSING"),
        ("folder.jpg", "SPECIAL_FILE"),
        ("pipe.jpg", "SPECIAL_FILE"),
        ("b.gif", "FORMAT"),
        ("c.jpg", "CATEGORY"),
        ("d.jpg", "CATEGORY"),
        ("e.jpg", "ATTRIBUTE"),
        ("row 12", "ROW"),
        ("row 13", "ROW"),
    ]
    details = [item.detail for item in found if isinstance(item, BadPhoto)]
    assert "row 3 names the photo of row 2 again" in details[0]
    assert "row 11: until is 'soon'; allowed is a day as YYYY-MM-DD" in details[8]


def test_names_are_found_however_their_accents_are_spelt(tmp_path: Path) -> None:
    shop(tmp_path, unicodedata.normalize("NFC", "image,category\nété.jpg,robe\n"), unicodedata.normalize("NFD", "été.jpg"))
    (photo,) = photos(listed(tmp_path))
    assert photo.name == unicodedata.normalize("NFC", "été.jpg")
    assert isinstance(photo.content, File)
    assert photo.content.read() == b"content"


def test_the_day_on_which_a_photo_came_must_be_known(tmp_path: Path) -> None:
    shop(tmp_path, "image,category,came\na.jpg,hat,2024-05-01\nb.jpg,hat,\nc.jpg,hat,May\n", "a.jpg", "b.jpg", "c.jpg")
    found = listed(tmp_path, added="came")
    assert [photo.generation for photo in photos(found)] == [1]
    assert reasons(found) == {"b.jpg": "ATTRIBUTE", "c.jpg": "ATTRIBUTE"}


def test_generations_only_move_up_when_later_days_come(tmp_path: Path) -> None:
    before = "image,category,came\na.jpg,hat,2024-05-01\nb.jpg,hat,2024-06-01\n"
    shop(tmp_path, before, "a.jpg", "b.jpg", "c.jpg")
    early = {photo.name: photo.generation for photo in photos(listed(tmp_path, added="came"))}
    shop(tmp_path, before + "c.jpg,hat,2025-01-01\n")
    late = {photo.name: photo.generation for photo in photos(listed(tmp_path, added="came"))}
    assert late == {**early, "c.jpg": 3}


@pytest.mark.parametrize(
    ("column", "name"),
    [("colour", "colour"), ("Price (EUR)", "price_eur"), (" Größe", "groe"), ("2nd colour", "nd_colour"), ("цвет", ""), ("", "")],
)
def test_a_column_has_a_plain_name_as_an_attribute(column: str, name: str) -> None:
    assert attribute_name(column) == name


# --- Parquet ----------------------------------------------------------------------------------------------------------------


def parquet(root: Path, columns: pa.Table, **options: object) -> Path:
    path = root / "shop" / "products.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(columns, path, **options)
    return path


def test_a_parquet_table_offers_typed_cells(tmp_path: Path) -> None:
    put(tmp_path / "shop", "a.jpg", "b.jpg")
    columns = pa.table(
        {
            "image": ["a.jpg", "b.jpg"],
            "category": pa.array(["hat", "shoe"]).dictionary_encode(),
            "sku": pa.array([4006381333931, None], pa.int64()),
            "price": [12.5, float("nan")],
            "size": pa.array([38, None], pa.int32()),
            "cost": pa.array([Decimal("3.20"), None]),
            "sold": [True, None],
            "made": pa.array([date(2024, 5, 1), None]),
            "seen": pa.array([datetime(2024, 5, 1), datetime(2024, 5, 1, 12)], pa.timestamp("ns")),
            "tags": [["a"], []],
            "until": pa.array([date(2030, 1, 31), None]),
            "agreed": [True, None],
        }
    )
    parquet(tmp_path, columns)
    source = table(sku="sku", expiry="until", consent="agreed").model_copy(update={"table": "products.parquet"})
    first, second = photos(list(source.photos(tmp_path)))
    assert (first.category, first.sku, first.rights.expiry, first.rights.consent) == (
        "hat",
        "4006381333931",
        date(2030, 1, 31),
        True,
    )
    day = date(2024, 5, 1)
    assert first.attributes == {"price": 12.5, "size": "38", "cost": "3.20", "sold": True, "made": day, "seen": day}
    assert (second.sku, second.rights) == ("", Rights())
    assert second.attributes == {"seen": "2024-05-01T12:00:00"}


def embedded(count: int, *, names: bool = True) -> tuple[list[bytes], pa.Table]:
    """Photos in the way in which Hugging Face datasets write them."""
    contents = [(jpeg, png, webp)[index % 3](product(index)) for index in range(count)]
    suffixes = ["jpg", "png", "webp"]
    rows = [
        {"bytes": content, "path": f"p/{index}.{suffixes[index % 3]}" if names else None}
        for index, content in enumerate(contents)
    ]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = pa.table({"image": pa.array(rows, kind), "label": pa.array([index % 2 for index in range(count)], pa.int64())})
    features = {"image": {"_type": "Image"}, "label": {"names": ["hat", "shoe"], "_type": "ClassLabel"}}
    return contents, columns.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


HUGGING_FACE = Table(kind="table", path="shop/products.parquet", image="image", category="label")


@pytest.mark.parametrize("rows", [7, 1000])
def test_photos_in_the_table_itself_are_read_in_any_order(tmp_path: Path, rows: int) -> None:
    contents, columns = embedded(40)
    parquet(tmp_path, columns, row_group_size=rows)
    found = photos(list(HUGGING_FACE.photos(tmp_path)))
    assert [photo.category for photo in found] == ["hat", "shoe"] * 20
    assert [photo.name for photo in found][:3] == ["p/0.jpg", "p/1.png", "p/2.webp"]
    for index in (0, 1, 2, 39, 5, 5, 20, 3, *range(40)):
        content = pickle.loads(pickle.dumps(found[index].content))
        assert isinstance(content, Cell)
        assert content.read() == contents[index]
        assert content.suffix == [".jpg", ".png", ".webp"][index % 3]


def test_photos_without_names_have_the_endings_that_their_bytes_ask_for(tmp_path: Path) -> None:
    contents, columns = embedded(6, names=False)
    parquet(tmp_path, columns)
    found = photos(list(HUGGING_FACE.photos(tmp_path)))
    assert [photo.name for photo in found][:2] == ["row-0000001", "row-0000002"]
    assert [photo.content.suffix for photo in found if isinstance(photo.content, Cell)] == [".jpg", ".png", ".webp"] * 2
    assert sniff_suffix(b"GIF89a") == ""
    plain = pa.table({"image": pa.array(contents, pa.large_binary()), "label": ["hat"] * 6})
    parquet(tmp_path, plain)
    again = photos(list(HUGGING_FACE.photos(tmp_path)))
    assert [photo.content.read() for photo in again if isinstance(photo.content, Cell)] == contents


def test_cells_that_hold_no_photo_are_refused_when_they_are_read(tmp_path: Path) -> None:
    _, columns = embedded(3)
    rows = [None, {"bytes": None, "path": "p/1.jpg"}, {"bytes": b"", "path": "p/2.gif"}]
    kind = columns.schema.field("image").type
    parquet(tmp_path, columns.set_column(0, "image", pa.array(rows, kind)))
    first, second, third = HUGGING_FACE.photos(tmp_path)
    assert isinstance(third, BadPhoto)
    assert third.reason == "FORMAT"
    for photo in (first, second):
        assert isinstance(photo, Photo)
        assert isinstance(photo.content, Cell)
        with pytest.raises(PictureError) as caught:
            photo.content.read()
        assert caught.value.reason == "MISSING"


def test_a_table_that_is_damaged_is_told_and_its_cells_are_refused(tmp_path: Path) -> None:
    _, columns = embedded(30)
    path = parquet(tmp_path, columns, write_page_checksum=True)
    found = photos(list(HUGGING_FACE.photos(tmp_path)))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PictureError) as caught:
        found[-1].content.read()  # type: ignore[union-attr]
    assert caught.value.reason == "UNREADABLE"
    with pytest.raises(UsageError, match="not a whole Parquet file"):
        list(HUGGING_FACE.photos(tmp_path))
    path.unlink()
    with pytest.raises(PictureError):
        found[0].content.read()  # type: ignore[union-attr]
