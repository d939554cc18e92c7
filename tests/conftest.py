"""What every room's tests share."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from packshot.adapters.tracking import Tracking
from packshot.layout import Layout

for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "BENTOML_DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
}.items():
    os.environ.setdefault(_name, _value)

# A shell that starts the tests in the background has them ignore SIGINT, and so would all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

CLOTHING = Path(__file__).parents[2] / "shared" / "catalogs" / "clothing"


def pytest_collection_finish() -> None:
    """Start the server of tests/children.py before an ingest starts one that has imported less, where any test forks from it."""
    if "tests.children" in sys.modules:
        sys.modules["tests.children"].forkserver()


@pytest.fixture(scope="session")
def clothing() -> Path:
    """3,409 real product photos in ten categories, where they are."""
    if not CLOTHING.is_dir():
        pytest.skip("the clothing photographs are not beside the project")
    return CLOTHING


ROOT = Path(__file__).parents[1]
TOOLS = Path(sys.executable).parent


@dataclass(frozen=True)
class Project:
    """A project of its own in a temporary folder, with its own var/, driven as a user drives it."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}",
            "DVC_SITE_CACHE_DIR": str(self.root.parent / "dvc-site"),
            "BENTOML_HOME": str(self.root / "var" / "bentoml"),
            "GIT_AUTHOR_NAME": "packshot",
            "GIT_AUTHOR_EMAIL": "tests@packshot.invalid",
            "GIT_COMMITTER_NAME": "packshot",
            "GIT_COMMITTER_EMAIL": "tests@packshot.invalid",
        }
        return {**os.environ, **own}

    def run(self, *words: str, code: int | None = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; `code` is the exit status it must end with (None: any)."""
        done = subprocess.run(words, cwd=self.root, env={**self.environment, **environment}, capture_output=True, text=True)
        assert code is None or done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def set(self, **sections: object) -> None:
        """Change fields of params.yaml: set(**{"gate.primary": "kid"})."""
        path = self.root / "params.yaml"
        content = yaml.safe_load(path.read_text())
        for dotted, value in sections.items():
            *above, last = dotted.split(".")
            place = content
            for word in above:
                place = place[int(word)] if isinstance(place, list) else place[word]
            place[last] = value
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def make_project(root: Path) -> Project:
    """A fresh project: the repository's own files, the tests' small params, Git and DVC."""
    root.mkdir(parents=True)
    for name in ("src", "services", "flows", "dvc.yaml", "prefect.yaml", "prefect.toml", ".dvcignore", ".gitignore"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, root / name)
    shutil.copy(Path(__file__).with_name("params.yaml"), root / "params.yaml")
    project = Project(root)
    project.run("git", "init", "-q", "-b", "main")
    project.run("dvc", "init", "-q")
    project.run("dvc", "config", "core.analytics", "false")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "Begin")
    return project


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracking database, made once: making one takes seconds."""
    layout = Layout(tmp_path_factory.mktemp("mlflow"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        Tracking.open(layout).connect()
    return layout.mlflow_database
