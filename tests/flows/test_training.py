"""The flow `training` on a real server and a real DVC project."""

from __future__ import annotations

import subprocess
import sys

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State

from flows.tasks import TASKS
from flows.training import training
from packshot.stages import STAGES
from tests.flows.conftest import Shop, lives, running

pytestmark = pytest.mark.servers


def train(shop: Shop, **parameters: object) -> State[None]:
    return training(shop.root, return_state=True, **parameters)


def flow_run_of(state: State[None]) -> object:
    found = state.state_details.flow_run_id
    assert found
    return found


def test_there_is_one_task_a_stage_named_by_its_word() -> None:
    assert tuple(TASKS) == STAGES
    assert [task.name for task in TASKS.values()] == list(STAGES)


def test_the_six_stages_run_in_order_once_and_say_what_they_did(shop: Shop, client: SyncPrefectClient) -> None:
    state = train(shop)
    assert (state.is_completed(), state.message) == (True, "vae@30 holds every bound")
    assert [stage for word, stage, _ in shop.journal() if word == "begin"] == list(STAGES)

    run = flow_run_of(state)
    artifacts = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run])))
    shown = {artifact.key: artifact for artifact in artifacts}
    assert set(shown) == {*STAGES, "train-train"}
    assert "| dress | 3 |" in str(shown["ingest"].data)
    assert shown["train-train"].data == 100.0

    shop.mood("gate", "refuse")
    refused = train(shop)
    assert (refused.is_completed(), refused.name, refused.message) == (True, "Refused", "no checkpoint passes: psnr")
    assert [stage for _, stage, _ in shop.journal()[2 * len(STAGES) :]] == ["gate", "gate"], "DVC repeats nothing else"
    run = flow_run_of(refused)
    tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
    assert {task.name: task.state_name for task in tasks} == {**dict.fromkeys(STAGES, "Cached"), "gate": "Completed"}


def test_a_failing_stage_fails_the_run_with_its_own_line(shop: Shop) -> None:
    shop.mood("validate.fail", "E10 2 expectations are broken: data/validate/report.html: see the photos there")
    state = train(shop)
    line = "packshot: E10 2 expectations are broken: data/validate/report.html: see the photos there"
    assert (state.type.value, state.name, state.message) == ("FAILED", "DataRejected", line)
    assert [stage for word, stage, _ in shop.journal()] == ["ingest", "ingest", "validate"], "tried once, and nothing after it"


def test_a_broken_record_is_no_reason_to_fail(shop: Shop) -> None:
    prepared = shop.root / "prepared" / "ingest"
    prepared.mkdir(parents=True)
    (prepared / "catalog.json").write_text("{}")
    assert train(shop, until="ingest").is_completed()


def test_a_stage_that_takes_too_long_is_ended_and_says_so(shop: Shop) -> None:
    shop.mood("ingest.slow", "300")
    state = train(shop, stage_minutes=0.08)
    assert (state.is_failed(), state.name) == (True, "TimedOut")
    ((_, _, process),) = shop.journal()
    assert not lives(process)


def test_a_folder_that_is_no_project_is_named(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> None:
    state = training(tmp_path_factory.mktemp("nothing"), return_state=True)
    assert state.is_failed()
    assert (state.message or "").startswith("packshot: E2 there is no params.yaml here or in any folder above")


def test_two_flows_at_once_take_turns(shop: Shop) -> None:
    shop.mood("prepare.slow", "2")
    code = "from flows.training import training; assert training(until='prepare', return_state=True).is_completed()"
    command = [sys.executable, "-c", code]
    with (
        running(command, shop.root, shop.environment, shop.root / "logs" / "one") as one,
        running(command, shop.root, shop.environment, shop.root / "logs" / "two") as two,
    ):
        assert [one.wait(90), two.wait(90)] == [0, 0]
    journal = shop.journal()
    assert all(
        (first[0], second[0]) == ("begin", "end") and first[1:] == second[1:]
        for first, second in zip(journal[::2], journal[1::2], strict=True)
    ), "no stage ran while another did"
    assert [stage for _, stage, _ in journal] == ["ingest", "ingest", "validate", "validate", "prepare", "prepare"]
    clean = subprocess.run(
        ["dvc", "status", "-q", "ingest", "validate", "prepare"], cwd=shop.root, env=shop.environment, check=False
    )
    assert clean.returncode == 0
