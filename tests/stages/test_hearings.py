"""What the gate has judged, and what another policy would have made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from packshot.errors import IntegrityError, ParamsError
from packshot.evaluation.policy import Bound
from packshot.layout import Layout
from packshot.params import load_params, load_policy
from packshot.records import EvaluationReport, Speed
from packshot.stages.gate import gate
from packshot.stages.hearings import read_hearings, replay
from tests.conftest import Project, make_project
from tests.evaluation.reports import card, estimate, report

PARAMS = load_params(Path(__file__).parents[1] / "params.yaml")


def leave(layout: Layout, psnr: float, name: str = "vae@10", **changes: object) -> EvaluationReport:
    """Leave behind what evaluate does."""
    left = report(card(name, {"psnr": estimate(psnr, 0.1)})).model_copy(update=changes)
    left.write(layout.stage("evaluate") / "report.json")
    Speed(costs=()).write(layout.stage("evaluate") / "speed.json")
    return left


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_every_evaluation_that_is_judged_is_kept_once(layout):
    leave(layout, 24.0)
    first = gate(PARAMS, layout)
    gate(PARAMS, layout)
    leave(layout, 2.0)
    second = gate(PARAMS, layout)
    told = read_hearings(layout)
    assert [hearing.verdict for hearing in told] == [first, second]
    assert [hearing.verdict.passed for hearing in told] == [True, False]


def test_the_same_evaluation_under_another_policy_is_another_hearing_and_no_other_look(layout, caplog):
    caplog.set_level("WARNING")
    leave(layout, 24.0)
    params = PARAMS.model_copy(update={"gate": PARAMS.gate.model_copy(update={"looks": 1})})
    gate(params, layout)
    strict = params.gate.model_copy(update={"bounds": (Bound(metric="psnr", at_least=30.0),)})
    gate(params.model_copy(update={"gate": strict}), layout)
    assert len(read_hearings(layout)) == 2
    assert "have judged" not in caplog.text
    leave(layout, 25.0)
    gate(params, layout)
    assert "these held-out photos have judged 2 evaluations" in caplog.text
    caplog.clear()
    leave(layout, 25.0, dataset="f" * 64)
    gate(params, layout)
    assert "have judged" not in caplog.text, "another dataset's photos are fresh"


def test_history_is_judged_anew_under_another_policy(layout):
    for psnr in (24.0, 2.0, 18.0):
        leave(layout, psnr)
        gate(PARAMS, layout)
    stricter = PARAMS.gate.model_copy(update={"bounds": (Bound(metric="psnr", at_least=20.0, proof="measured"),)})
    told = replay(read_hearings(layout), stricter)
    assert [one.was.passed for one in told.hearings] == [True, False, True]
    assert [one.would_be.passed for one in told.hearings] == [True, False, False]
    assert [one.changed for one in told.hearings] == [False, False, True]
    assert told.policy == stricter.content_digest()
    same = replay(read_hearings(layout), PARAMS.gate)
    assert [one.would_be for one in same.hearings] == [one.was for one in same.hearings]


def test_a_hearing_that_was_tampered_with_is_said_so(layout):
    leave(layout, 24.0)
    gate(PARAMS, layout)
    (path,) = layout.hearings.iterdir()
    path.write_text("{}")
    with pytest.raises(IntegrityError, match="not a Hearing"):
        read_hearings(layout)


@pytest.mark.parametrize("inside", [True, False])
def test_a_policy_is_read_from_a_whole_params_file_or_from_its_section_alone(tmp_path, inside):
    section = {"primary": "kid", "second": "psnr", "bounds": [{"metric": "kid", "at_most": 0.1}]}
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump({"seed": 3, "gate": section} if inside else section))
    assert load_policy(path).primary == "kid"
    section["primary"] = "lpips"
    path.write_text(yaml.safe_dump(section))
    with pytest.raises(ParamsError, match=r"gate\.primary: no metric is called lpips"):
        load_policy(path)


# --- on the command line -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = make_project(tmp_path_factory.mktemp("replay") / "project")
    layout = Layout(made.root)
    for psnr in (24.0, 2.0):
        leave(layout, psnr)
        gate(load_params(layout.params), layout)
    return made


def policy(project: Project, least: float) -> str:
    path = project.root / f"policy-{least:g}.yaml"
    bounds = [{"metric": "psnr", "at_least": least, "proof": "measured"}]
    path.write_text(yaml.safe_dump({"primary": "psnr", "second": "ssim", "bounds": bounds}))
    return path.name


def test_the_gate_exits_with_12_for_ci_where_nothing_passes(project: Project) -> None:
    project.run("packshot", "gate")
    done = project.run("packshot", "gate", "--strict", code=12)
    assert "E12" in done.stderr
    assert "psnr is 2" in done.stderr
    assert "report.html" in done.stderr


def test_replay_shows_what_history_would_have_looked_like(project: Project) -> None:
    done = project.run("packshot", "gate", "replay", "--policy", policy(project, 30.0))
    first, second = [line for line in done.stdout.splitlines() if line.startswith("20")]
    assert first.split()[2:4] == ["vae@10", "none"]
    assert second.split()[2:4] == ["none", "none"]
    told = json.loads(project.run("packshot", "gate", "replay", "--policy", policy(project, 30.0), "--json").stdout)
    assert [one["would_be"]["passed"] for one in told["hearings"]] == [False, False]


def test_a_replay_is_strict_for_ci(project: Project) -> None:
    assert (
        "1 of 2 verdicts would change"
        in project.run("packshot", "gate", "replay", "--policy", policy(project, 30.0), "--strict", code=12).stderr
    )
    project.run("packshot", "gate", "replay", "--policy", policy(project, 3.0), "--strict")
    project.run("packshot", "gate", "replay", "--strict")


def test_a_policy_that_is_none_or_no_history_is_one_line(project: Project, tmp_path: Path) -> None:
    for words, why in (
        (("--policy", "nowhere.yaml"), "no such file"),
        (("--policy", "dvc.yaml"), "gate.stages: no such field"),
    ):
        done = project.run("packshot", "gate", "replay", *words, code=2)
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("packshot: E2")]
        assert why in done.stderr, line
    fresh = Project(tmp_path)
    (tmp_path / "params.yaml").write_text((project.root / "params.yaml").read_text())
    assert "nothing was ever judged here" in fresh.run("packshot", "gate", "replay", code=2).stderr
