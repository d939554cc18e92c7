"""The command line: every mistake of a user's is one line and a documented exit code, never a traceback."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from packshot import cli, errors
from packshot.stages import STAGES
from tests.conftest import Project, make_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("cli") / "project")


def one_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("packshot: E")]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


@pytest.mark.parametrize("name", STAGES[1:])
def test_a_stage_that_is_run_too_early_names_the_one_to_run_first(project: Project, name: str) -> None:
    done = project.run("packshot", name, code=2)
    assert re.search(rf"'({'|'.join(STAGES)})'", one_line(done.stderr))


def test_a_missing_folder_is_a_usage_error_with_advice(project: Project) -> None:
    assert "data/catalog" in one_line(project.run("packshot", "ingest", code=2).stderr)


def test_outside_a_project_it_says_so(project: Project, tmp_path: Path) -> None:
    done = Project(tmp_path).run("packshot", "gate", code=2)
    assert "no params.yaml" in one_line(done.stderr)


def test_unknown_params_end_with_two(project: Project) -> None:
    path = project.root / "params.yaml"
    text = path.read_text()
    path.write_text(text.replace("  batch_size: 16", "  batch_sise: 16"))
    try:
        assert "there are steps" in one_line(project.run("packshot", "train", code=2).stderr)
    finally:
        path.write_text(text)


def test_an_empty_catalogue_is_refused(project: Project) -> None:
    params = project.root / "params.yaml"
    text = params.read_text()
    (project.root / "data" / "catalog").mkdir(parents=True)
    try:
        project.set(**{"ingest.source.kind": "folder"})
        one_line(project.run("packshot", "ingest", code=10).stderr)
    finally:
        params.write_text(text)
        (project.root / "data" / "catalog").rmdir()


@pytest.mark.parametrize(
    ("number", "code"), [(errno.EACCES, 2), (errno.EROFS, 2), (errno.ENOSPC, 22), (errno.EIO, 22), (errno.EBADF, 70)]
)
def test_what_the_system_refuses_is_told_with_its_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(number, os.strerror(number), "data/ingest")

    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(cli, "app", refuse)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    told = one_line(capsys.readouterr().err)
    assert os.strerror(number) in told
    assert "data/ingest" in told


def test_rolling_back_without_a_champion_is_a_usage_error(project: Project) -> None:
    one_line(project.run("packshot", "rollback", "--reason", "none", code=2).stderr)


@pytest.mark.parametrize("words", [["--project", "nowhere", "gate"], ["fly"], ["gate", "--fast"], ["rollback"]])
def test_a_wrong_command_line_ends_with_two(project: Project, words: list[str]) -> None:
    done = project.run("packshot", *words, code=2)
    assert "Traceback" not in done.stderr


def test_every_exit_code_is_documented(project: Project) -> None:
    told = project.run("packshot", "--help").stdout
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.PackshotError)]
    for kind in kinds:
        assert re.search(rf"\b{kind.exit_code}\b", told), kind
        assert kind.exit_code == 70 or f"| {kind.exit_code} |" in readme, kind
