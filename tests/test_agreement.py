"""Two files that must say the same, do: one word a step."""

from __future__ import annotations

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
    assert list(inspect.signature(getattr(import_module(f"packshot.stages.{name}"), name)).parameters) == ["params", "layout"]
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


def test_the_params_of_the_repository_are_right() -> None:
    params = load_params(ROOT / "params.yaml")
    assert params.train.runs
    assert (ROOT / params.ingest.source.path).exists()


def test_every_pin_that_the_project_needs_is_exact() -> None:
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line]
    assert all("==" in pin for pin in pins)


def test_every_variable_of_packshots_own_is_told_of() -> None:
    """PACKSHOT_FAILPOINT alone is nobody's business but the tests'."""
    readme = (ROOT / "README.md").read_text()
    sources = [path for room in ("src", "flows", "services") for path in (ROOT / room).rglob("*.py")]
    for path in (*sources, ROOT / "Makefile", ROOT / "Procfile"):
        for name in re.findall(r"PACKSHOT_[A-Z_]+|\w+_PORT\b", path.read_text()):
            assert name == "PACKSHOT_FAILPOINT" or f"`{name}`" in readme, f"{path.name}: {name}"
