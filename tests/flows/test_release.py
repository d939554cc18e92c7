"""The flow `release` on a real server, a real registry and real weights: whole, or not at all."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import State

from flows.release import ACTS, release
from packshot.layout import Layout
from packshot.params import load_params
from packshot.records import Live
from packshot.release.ledger import Ledger
from packshot.release.review import review
from packshot.release.status import status
from tests.flows.conftest import Shop, await_that
from tests.release.conftest import Shop as Trained

pytestmark = pytest.mark.servers


@pytest.fixture
def layout(shop: Shop, database: Path) -> Layout:
    """A project whose stages but the first bring out what `train` below leaves in prepared/."""
    made = Layout(shop.root)
    made.mlflow_database.parent.mkdir(parents=True)
    shutil.copy(database, made.mlflow_database)
    text = (shop.root / "dvc.yaml").read_text()
    (shop.root / "dvc.yaml").write_text(
        text.replace("      - data/prepare\n    outs", "      - data/prepare\n      - prepared\n    outs")
    )
    return made


def train(layout: Layout, seed: int, psnr: float = 20.0, *, passed: bool = True) -> None:
    """The next training shall bring out these weights, with this verdict."""
    trained = Trained(layout)
    trained.validate()
    trained.train(seed, psnr=psnr, passed=passed)
    for stage in ("validate", "prepare", "train", "evaluate", "gate"):
        shutil.rmtree(layout.root / "prepared" / stage, ignore_errors=True)
        shutil.move(layout.stage(stage), layout.root / "prepared" / stage)


@contextmanager
def service(layout: Layout) -> Iterator[str]:
    """A service that follows, and whose pictures are no pictures."""

    class Broken(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("X-Packshot-Digest", Live.read(layout.live).sha256)
            self.end_headers()
            self.wfile.write(b'{"images": [{"data": "bm8="}]}')

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


def run(layout: Layout) -> State[None]:
    return release(layout.root, by="ada", return_state=True)


def test_the_acts_have_their_words() -> None:
    assert [(name, task.name) for name, task in ACTS.items()] == [
        (name, name) for name in ("register", "review", "promote", "smoke")
    ]


def test_a_release_is_whole_or_it_never_was(layout: Layout, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    train(layout, 1)
    first = run(layout)
    assert (first.is_completed(), first.message) == (True, "packshot version 1 is the champion (epoch 1)")
    champion = Live.read(layout.live)
    (flow_run,) = client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[first.state_details.flow_run_id])))
    said = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run.id]))
    await_that(lambda: any("says version 1 (epoch 1)" in line.message for line in client.read_logs(said)), 30, "the log arrives")
    head = Ledger(layout.ledger).head()
    assert head is not None
    assert head.by == f"ada (flow run {flow_run.name})"

    train(layout, 2, psnr=21.0)
    with service(layout) as url:
        monkeypatch.setenv("PACKSHOT_SERVICE_URL", url)
        undone = run(layout)
        monkeypatch.delenv("PACKSHOT_SERVICE_URL")
    assert (undone.is_failed(), undone.name) == (True, "IntegrityError")
    assert "packshot: E15 the service's" in (undone.message or "")
    assert (undone.message or "").endswith("(smoke; the champion of before is back)")
    assert Live.read(layout.live).sha256 == champion.sha256
    told = status(layout)
    assert (told.champion, told.alias, told.candidate, told.live) == (1, 1, 1, "in step")
    assert [entry.act for entry in told.history] == ["promotion", "promotion", "undoing"]

    train(layout, 3, passed=False)
    refused = run(layout)
    assert (refused.is_failed(), refused.name) == (True, "GateRefused")
    assert (refused.message or "").startswith("packshot: E12 no checkpoint passes: psnr is 20.0")
    assert status(layout) == told, "nothing was even registered"


def test_a_candidate_waits_for_its_people_and_the_next_release_takes_it(layout: Layout) -> None:
    params = yaml.safe_load(layout.params.read_text())
    params["release"]["review"] = "manual"
    layout.params.write_text(yaml.safe_dump(params))
    train(layout, 1)
    waiting = run(layout)
    assert (waiting.is_completed(), waiting.name) == (True, "AwaitingReview")
    assert "packshot review --approve" in (waiting.message or "")
    assert status(layout).candidate == 1
    assert not layout.live.exists()
    review(load_params(layout.params), layout, by="grace", approve=True, reason="looked at every picture")
    assert run(layout).is_completed()
    assert Live.read(layout.live).version == 1


def test_a_verdict_beside_another_champion_is_given_again_before_anybody_acts_on_it(shop: Shop, layout: Layout) -> None:
    train(layout, 2)
    shutil.move(layout.root / "prepared", layout.root / "alone")
    train(layout, 1)
    assert run(layout).is_completed()
    shutil.rmtree(layout.root / "prepared")
    shutil.move(layout.root / "alone", layout.root / "prepared")
    before = len(shop.journal())
    refused = run(layout)
    begun = [stage for word, stage, _ in shop.journal()[before:] if word == "begin"]
    assert begun[-4:] == ["evaluate", "gate", "evaluate", "gate"], "once by DVC, once since the champion is another"
    assert (refused.is_failed(), refused.name) == (True, "ReviewRefused"), "this gate's second verdict is as stale as its first"
    assert "judged beside nobody" in (refused.message or "")
    assert Live.read(layout.live).version == 1
