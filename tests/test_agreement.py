"""Two files that must say the same, do: one word a step."""

from __future__ import annotations

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from packshot.cli import app
from packshot.params import Params, load_params
from packshot.stages import STAGES

ROOT = Path(__file__).parents[1]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
SECTIONS = {field.alias or name for name, field in Params.model_fields.items()}


def test_dvc_runs_the_stages_in_their_order() -> None:
    assert tuple(PIPELINE) == STAGES
    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    assert set(STAGES) <= commands


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_one_word_everywhere(name: str) -> None:
    stage = PIPELINE[name]
    assert stage["cmd"] == f"packshot {name}"
    assert name in SECTIONS
    assert name in stage["params"]
    told = inspect.signature(getattr(import_module(f"packshot.stages.{name}"), name)).parameters.values()
    assert [one.name for one in told if one.kind is not one.KEYWORD_ONLY] == ["params", "layout"]
    assert all(one.default is not one.empty for one in told if one.kind is one.KEYWORD_ONLY)
    outs = [
        next(iter(out)) if isinstance(out, dict) else out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])
    ]
    assert outs
    assert all(out == f"data/{name}" or out.startswith(f"data/{name}/") for out in outs)


@pytest.mark.parametrize("name", STAGES)
def test_what_dvc_watches_is_there(name: str) -> None:
    for dependency in PIPELINE[name]["deps"]:
        if not dependency.startswith(("data/", "${")):
            assert (ROOT / dependency).exists(), dependency


UNWATCHED = {
    "train": {"images/sheet.py", "evaluation/"},  # what train.dev measures decides when a run ends, not what it learns
    "evaluate": {"pages.py", "training/log.py"},
    "gate": {"evaluation/", "images/"},
}
"""What a stage imports for what people look at, or for names alone: to compute it all again for that would be a waste."""

COMPUTING = ("images/", "models/", "training/", "evaluation/", "sources/", "stages/begin.py", "stages/start.py", "pages.py")


def modules_of(stage: str) -> set[str]:
    """The computing modules that are imported with a stage's, by their places below src/packshot."""
    package = ROOT / "src" / "packshot"
    found: set[str] = set()
    waiting = [f"stages/{stage}.py"]
    while waiting:
        place = waiting.pop()
        if place in found or not (package / place).is_file() or not place.startswith((f"stages/{stage}.py", *COMPUTING)):
            continue
        found.add(place)
        tree = ast.parse((package / place).read_text())
        typing = {id(one) for node in ast.walk(tree) if _is_for_types(node) for one in ast.walk(node)}
        for node in (one for one in ast.walk(tree) if id(one) not in typing):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("packshot."):
                base = node.module.removeprefix("packshot.").replace(".", "/")
                waiting += [f"{base}.py", f"{base}/__init__.py", *(f"{base}/{alias.name}.py" for alias in node.names)]
    return found


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@pytest.mark.parametrize("name", STAGES)
def test_dvc_watches_all_that_a_stage_computes_with(name: str) -> None:
    watched = tuple(one.removeprefix("src/packshot/") for one in PIPELINE[name]["deps"] if one.startswith("src/packshot/"))
    assert {one for one in modules_of(name) if not one.startswith((*watched, *UNWATCHED.get(name, ())))} == set()


def test_the_params_of_the_repository_are_right() -> None:
    params = load_params(ROOT / "params.yaml")
    assert params.train.runs
    assert (ROOT / params.ingest.source.path).exists()


def test_every_pin_that_the_project_needs_is_exact() -> None:
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line]
    assert all("==" in pin for pin in pins)


UNTOLD = {"PACKSHOT_FAILPOINT", "MASTER_PORT"}
"""The tests' own, and torchrun's."""


def test_every_variable_of_packshots_own_is_told_of() -> None:
    readme = (ROOT / "README.md").read_text()
    sources = [path for room in ("src", "flows", "services") for path in (ROOT / room).rglob("*.py")]
    for path in (*sources, ROOT / "Makefile", ROOT / "Procfile"):
        for name in re.findall(r"PACKSHOT_[A-Z_]+|\w+_PORT\b", path.read_text()):
            assert name in UNTOLD or f"`{name}`" in readme, f"{path.name}: {name}"
