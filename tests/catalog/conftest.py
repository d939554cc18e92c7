"""Projects under Git and DVC with ingested photos, made without running the stages: two versions in a second."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from packshot.layout import Layout
from packshot.records import Attribute, BadPhoto
from tests.conftest import Project
from tests.sources.ingested import Shot, product, write_ingested

PIPELINE = """
stages:
  ingest:
    cmd: "true"
    outs:
      - data/ingest:
          persist: true
  validate:
    cmd: "true"
    deps:
      - data/ingest
    outs:
      - data/validate
"""
MATERIAL = (Attribute(name="material", kind="label"), Attribute(name="price", kind="number"))


@dataclass(frozen=True)
class Shop:
    """A project whose data/ingest the tests write themselves."""

    project: Project

    @property
    def layout(self) -> Layout:
        return Layout(self.project.root)

    def ingest(self, shots: Sequence[Shot], quarantined: Sequence[BadPhoto] = ()) -> None:
        write_ingested(self.layout.stage("ingest"), shots, quarantined=quarantined, attributes=MATERIAL)

    def commit(self, message: str) -> str:
        """Version what is there, and name the commit."""
        self.project.run("dvc", "commit", "-q", "-f", "ingest")
        self.project.run("git", "add", "-A")
        self.project.run("git", "commit", "-qm", message)
        return self.project.run("git", "rev-parse", "HEAD").stdout.strip()


def make_shop(root: Path) -> Shop:
    root.mkdir(parents=True)
    shop = Shop(Project(root))
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "params.yaml").write_text(Path(__file__).parents[1].joinpath("params.yaml").read_text())
    (root / ".gitignore").write_text("/var/\n")
    shop.project.run("git", "init", "-q", "-b", "main")
    shop.project.run("dvc", "init", "-q")
    return shop


def first_shots() -> list[Shot]:
    """Eight photos of two categories."""
    told = ({"material": "wool", "price": 10.0}, {"material": "silk"}, {})
    return [
        Shot(f"{category}/{number}.jpg", product(10 * at + number), attributes=told[number % 3])
        for at, category in enumerate(("hat", "shoe"))
        for number in range(4)
    ]


BAD = BadPhoto(path="hat/torn.jpg", category="hat", reason="TRUNCATED", detail="the file ends too early")
EMPTY = BadPhoto(path="shoe/none.jpg", category="shoe", reason="EMPTY", detail="a file of no bytes")


def second_shots() -> list[Shot]:
    """The next version: each kind of change once."""
    shots = {shot.path: shot for shot in first_shots()}
    del shots["hat/0.jpg"]  # removed
    old = shots.pop("hat/1.jpg")
    shots["hat/one.jpg"] = Shot("hat/one.jpg", old.pixels, attributes=old.attributes)  # renamed
    shots["hat/2.jpg"] = Shot("hat/2.jpg", product(99))  # changed
    old = shots.pop("hat/3.jpg")
    shots["shoe/moved.jpg"] = Shot("shoe/moved.jpg", old.pixels, attributes=old.attributes)  # moved
    shots["shoe/0.jpg"] = Shot("shoe/0.jpg", shots["shoe/0.jpg"].pixels, attributes={"material": "felt", "price": 10.0})  # retold
    shots["bag/0.jpg"] = Shot("bag/0.jpg", product(50))  # added, a category of its own
    shots["bag/1.jpg"] = Shot("bag/1.jpg", product(51))
    return list(shots.values())


@pytest.fixture(scope="session", autouse=True)
def _dvc_site(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ.setdefault("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("dvc-site")))


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Two versions, the commits tagged 'first' and 'second', both pushed to a remote; the second one in the workspace."""
    folder = tmp_path_factory.mktemp("shop")
    made = make_shop(folder / "project")
    made.project.run("dvc", "remote", "add", "-q", "-d", "depot", str(folder / "remote"))
    for name, shots, bad in (("first", first_shots(), [BAD]), ("second", second_shots(), [EMPTY])):
        made.ingest(shots, bad)
        made.commit(f"The {name} delivery")
        made.project.run("git", "tag", name)
        made.project.run("dvc", "push", "-q")
    return made
