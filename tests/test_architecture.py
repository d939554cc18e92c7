"""The house stands as it is drawn: imports run downwards, and each vendor has one door."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "flows").rglob("*.py"), *(ROOT / "services").rglob("*.py")])

DOORS = {
    "mlflow": {"src/packshot/adapters/tracking.py", "src/packshot/adapters/registry.py"},
    "great_expectations": {"src/packshot/adapters/expectations.py", "src/packshot/adapters/vocabulary.py"},
    "bentoml": {"src/packshot/adapters/shelf.py", "services/"},
    "optuna": {"src/packshot/adapters/search.py"},
    "prefect": {"flows/"},
    "dvc": {"src/packshot/adapters/versioning.py", "src/packshot/adapters/revisions.py"},
    "yaml": {"src/packshot/params.py", "src/packshot/adapters/versioning.py", "src/packshot/adapters/revisions.py"},
    "typer": {"src/packshot/cli.py"},
    "distributed": {"src/packshot/sources/cluster.py"},
}
"""Which vendor may be imported where."""

FORBIDDEN = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}

TORCHLESS = ("src/packshot/sources/", "src/packshot/adapters/", "flows/")


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_each_vendor_comes_in_by_its_own_door(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    found = imports(path)
    for vendor, doors in DOORS.items():
        assert vendor not in found or any(place.startswith(door) for door in doors), f"{place} imports {vendor}"
    assert not found & FORBIDDEN, f"{place}: no pickle, in no form"
    assert "torch" not in found or not place.startswith(TORCHLESS), f"{place} must work without torch"


def test_nothing_is_loaded_by_unpickling() -> None:
    for path in SOURCES:
        text = path.read_text()
        assert "torch.load(" not in text, path
        assert "allow_pickle=True" not in text, path


def test_importing_packshot_does_nothing(tmp_path: Path) -> None:
    code = (
        "import logging, os, pathlib; before = set(os.environ);"
        "import packshot, packshot.cli, packshot.params, packshot.stages;"
        "opencv = {'LD_LIBRARY_PATH', 'QT_QPA_PLATFORM_PLUGIN_PATH', 'QT_QPA_FONTDIR'};"
        "assert not logging.getLogger().handlers; assert set(os.environ) - opencv <= before, set(os.environ) - before;"
        "assert not list(pathlib.Path().iterdir())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["catalog", "--help"]])
def test_help_loads_no_heavy_vendor(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from packshot.cli import main; sys.argv = ['packshot', *sys.argv[1:]]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'mlflow', 'great_expectations', 'bentoml', 'prefect', 'dvc', 'pandas', 'cv2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr


def test_what_takes_photos_in_needs_no_torch() -> None:
    """Torch is half a gigabyte of memory and seconds of a command that decodes, judges or packs photos."""
    code = (
        "import sys\n"
        "import packshot.cli, packshot.params, packshot.catalog.status, packshot.release.status\n"
        "import packshot.stages.ingest, packshot.stages.validate, packshot.stages.prepare, packshot.adapters.delivery\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_layers_hold() -> None:
    done = subprocess.run([str(Path(sys.executable).with_name("lint-imports"))], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_machine_path_stands_in_the_repository() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, tracked.stdout.split("\0")):
        path = ROOT / name
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".txt", ""} and path.is_file():
            text = path.read_text(errors="replace")
            for home in ("/" + "home/", "/" + "root/", "/" + "Users/"):
                assert home not in text, f"{name} names {home}"
