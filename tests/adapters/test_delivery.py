"""Photos that come in, as a shop brings them: real folders, DVC, HTTP and S3."""

from __future__ import annotations

import fcntl
import hashlib
import http.server
import importlib.util
import io
import json
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from packshot.adapters.delivery import deliver
from packshot.adapters.versioning import data_version
from packshot.errors import Locked, Unavailable, UsageError
from packshot.layout import Layout
from packshot.records import BadPhoto
from packshot.sources import AnySource, IngestParams
from packshot.sources.archive import Archive
from packshot.sources.base import Photo
from packshot.sources.detect import Columns
from packshot.sources.folder import Folder
from packshot.sources.packed import Packed, read_pack
from packshot.sources.table import Table
from tests.images.files import jpeg, product

PHOTOS = {
    f"{category}/{index}.jpg": jpeg(product(10 * index + len(category))) for category in ("hat", "shoe") for index in range(3)
}


def dvc(root: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "dvc", *words], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project under Git and DVC."""
    root = tmp_path_factory.mktemp("delivery") / "project"
    root.mkdir()
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=root, check=True)
    (root / "params.yaml").write_text("ingest: {source: {kind: catalog, path: data/catalog}}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(root.parent / "site"))
        dvc(root, "init", "-q")
    return root


@pytest.fixture
def layout(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("PACKSHOT_VAR", raising=False)
    shutil.copytree(empty, tmp_path / "project")
    return Layout(tmp_path / "project")


def write_tree(folder: Path, photos: dict[str, bytes] = PHOTOS) -> Path:
    for name, content in photos.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read(source: AnySource, root: Path) -> dict[str, bytes]:
    items = list(source.photos(root))
    assert not any(isinstance(item, BadPhoto) for item in items)
    return {item.name: item.content.read() for item in items if isinstance(item, Photo)}  # type: ignore[union-attr]


def said(layout: Layout, offered: str, **options: object) -> tuple[str, AnySource]:
    """What a delivery says, and the source that it says to put into params.yaml, taken by its word."""
    delivery = deliver(layout, offered, options.pop("columns", Columns()), **options)  # type: ignore[arg-type]
    text = "\n".join(delivery.lines())
    section = yaml.safe_load(text[text.index("  ingest:") :])["ingest"]
    params = IngestParams.model_validate_json(json.dumps({**section, "side": 32, "duplicate_radius": 0}))
    assert params.source == delivery.source
    assert params.attributes == dict(delivery.kinds)
    return text, params.source


def test_a_folder_is_packed_and_its_version_follows_it(layout: Layout, tmp_path: Path) -> None:
    shop = write_tree(tmp_path / "shop")
    text, source = said(layout, str(shop))
    assert "6 added, 0 removed, 0 changed, 0 unchanged." in text
    assert "6 photos of 2 categories, generation 1" in text
    assert source == Packed(kind="catalog", path="data/catalog")
    assert read(source, layout.root) == PHOTOS
    recorded = yaml.safe_load((layout.data / "catalog.dvc").read_text())["outs"][0]
    first = data_version(layout)
    assert first == recorded["md5"]
    assert recorded["nfiles"] == 3
    again, _ = said(layout, str(shop))
    assert "Nothing has changed: 6 photos of 2 categories, generation 1." in again
    assert data_version(layout) == first
    (shop / "hat/0.jpg").unlink()
    (shop / "hat/odd.gif").write_bytes(b"GIF89a")
    third, _ = said(layout, str(shop))
    assert "0 added, 1 removed, 0 changed, 5 unchanged." in third
    assert "1 refused: 1 FORMAT." in third
    assert data_version(layout) != first
    shutil.rmtree(layout.catalog)
    with pytest.raises(UsageError, match=r"added before are not here.*dvc pull"):
        deliver(layout, str(shop), Columns())
    dvc(layout.root, "checkout", "-q", "data/catalog.dvc")
    assert read_pack(layout.catalog).generation == 2


def test_a_table_is_packed_with_its_attributes(layout: Layout, tmp_path: Path) -> None:
    shop = write_tree(tmp_path / "shop")
    rows = [f"{name},{name[:-6]},{'red' if 'hat' in name else 'no'},{index}.5" for index, name in enumerate(PHOTOS)]
    (shop / "products.csv").write_text("image,category,colour,price\n" + "\n".join(rows) + "\n")
    text, _ = said(layout, str(shop / "products.csv"))
    assert "attributes: {colour: label, price: number}" in text
    (photo, *_) = [item for item in Packed(kind="catalog", path="data/catalog").photos(layout.root) if isinstance(item, Photo)]
    assert set(photo.attributes) == {"colour", "price"}


def test_one_folder_too_many_is_wondered_at(layout: Layout, tmp_path: Path) -> None:
    shop = write_tree(tmp_path / "wrapped" / "my shop")
    (tmp_path / "shop.zip").write_bytes(zipped({f"my shop/{name}": content for name, content in PHOTOS.items()}))
    text, _ = said(layout, str(tmp_path / "wrapped"))
    assert f"All are of the category 'my shop'. Where the folders in it are the categories, add them with '{shop}'." in text
    assert "add them with --below 'my shop'." in said(layout, str(tmp_path / "shop.zip"))[0]
    assert "All are of" not in said(layout, str(tmp_path / "shop.zip"), below="my shop")[0]
    assert "All are of" not in said(layout, str(write_tree(tmp_path / "hats", {"hat/0.jpg": b"one"})))[0]


def test_where_nothing_can_be_added_it_is_said_why(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="dvc init"):
        deliver(Layout(tmp_path), str(write_tree(tmp_path / "shop")), Columns())
    with pytest.raises(UsageError, match="no such folder"):
        deliver(layout, str(tmp_path / "absent"), Columns())
    write_tree(layout.root / "data" / "catalog" / "photos")
    for folder in (layout.root, layout.catalog, layout.catalog / "photos"):
        with pytest.raises(UsageError, match="one folder holds the other"):
            deliver(layout, str(folder), Columns())
    layout.var.mkdir()
    with (layout.var / "catalog.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Locked, match="being added already"):
            deliver(layout, str(tmp_path / "shop"), Columns())


def test_a_password_never_comes_into_a_record(layout: Layout) -> None:
    with pytest.raises(UsageError, match="carries a password"):
        deliver(layout, "https://shop:secret@127.0.0.1/photos.zip", Columns())
    assert not list(layout.data.glob("*.dvc"))


# --- URLs -------------------------------------------------------------------------------------------------------------------


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Files with an ETag, as web servers and object stores send them: DVC tells by it whether one has changed."""

    def end_headers(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.is_file():
            self.send_header("ETag", f'"{hashlib.md5(path.read_bytes()).hexdigest()}"')
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL under which it is served."""
    folder = tmp_path / "web"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def zipped(photos: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, content in photos.items():
            archive.writestr(name, content)
    return sink.getvalue()


def test_an_archive_on_the_web_is_imported_and_renewed(layout: Layout, web: tuple[Path, str]) -> None:
    folder, url = web
    (folder / "shop.zip").write_bytes(zipped(PHOTOS))
    text, source = said(layout, f"{url}/shop.zip")
    assert "data/import.zip is under DVC" in text
    assert source == Archive(kind="archive", path="data/import.zip")
    assert read(source, layout.root) == PHOTOS
    record = yaml.safe_load((layout.data / "import.zip.dvc").read_text())
    assert record["deps"][0]["path"] == f"{url}/shop.zip"
    more = {**PHOTOS, "bag/1.jpg": jpeg(product(77))}
    (folder / "shop.zip").write_bytes(zipped(more))
    said(layout, f"{url}/shop.zip")
    assert read(source, layout.root) == more


def test_a_parquet_table_on_the_web_is_imported(layout: Layout, web: tuple[Path, str]) -> None:
    folder, url = web
    rows = [{"bytes": content, "path": name} for name, content in PHOTOS.items()]
    pq.write_table(pa.table({"image": rows, "label": [name[:-6] for name in PHOTOS]}), folder / "train.parquet")
    _, source = said(layout, f"{url}/train.parquet?download=true")
    assert source == Table(kind="table", path="data/import.parquet", image="image", category="label")
    assert read(source, layout.root) == PHOTOS


def test_a_folder_elsewhere_is_imported_whole(layout: Layout, tmp_path: Path) -> None:
    shop = write_tree(tmp_path / "shop")
    _, source = said(layout, f"file://{shop}")
    assert source == Folder(kind="folder", path="data/import")
    assert read(source, layout.root) == PHOTOS
    (shop / "products.tsv").write_text("photo\tclass\n" + "".join(f"{name}\t{name[:-6]}\n" for name in PHOTOS))
    _, table = said(layout, f"file://{shop}")
    assert table == Table(kind="table", path="data/import", table="products.tsv", image="photo", category="class")
    assert read(table, layout.root) == PHOTOS
    (layout.root / "params.yaml").write_text(f"ingest: {{source: {{kind: table, path: {table.path}}}}}\n")
    assert data_version(layout) == yaml.safe_load((layout.data / "import.dvc").read_text())["outs"][0]["md5"]


def test_s3_is_imported_through_a_remote(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    from moto.server import ThreadedMotoServer

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        import boto3

        store = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        store.create_bucket(Bucket="shop")
        for name, content in PHOTOS.items():
            store.put_object(Bucket="shop", Key=f"spring/{name}", Body=content)
        dvc(layout.root, "remote", "add", "shop", "s3://shop")
        dvc(layout.root, "remote", "modify", "shop", "endpointurl", f"http://{host}:{port}")
        _, source = said(layout, "remote://shop/spring")
    finally:
        server.stop()
    assert source == Folder(kind="folder", path="data/import")
    assert read(source, layout.root) == PHOTOS


def test_what_dvc_cannot_get_is_told_with_what_it_needs(layout: Layout) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(Unavailable, match=rf"failed to import http://127\.0\.0\.1:{port}/shop\.zip"):
            deliver(layout, f"http://127.0.0.1:{port}/shop.zip", Columns())
    with pytest.raises(Unavailable, match=r"oss.*pip install 'dvc-oss'"):
        deliver(layout, "oss://bucket/shop.zip", Columns())
    with pytest.raises(UsageError, match="not merged"):
        deliver(layout, "oss://bucket/shop.zip", Columns(), merge=True)
    assert not [path for path in layout.data.iterdir() if path.name != ".gitignore"]


def test_a_missing_plug_in_is_named_by_its_extra(layout: Layout) -> None:
    if importlib.util.find_spec("dvc_gs"):
        pytest.skip("dvc-gs is installed here")
    with pytest.raises(Unavailable, match=r"pip install 'packshot\[gs\]'"):
        deliver(layout, "gs://bucket/shop.zip", Columns())
