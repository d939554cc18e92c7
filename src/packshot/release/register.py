"""Bring the gate's candidate into the registry, with everything that a reviewer needs."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from packshot.adapters.registry import Registry
from packshot.adapters.tracking import PENDING, Tracking
from packshot.adapters.versioning import data_version, git_commit
from packshot.errors import Unavailable
from packshot.layout import Layout
from packshot.params import Params
from packshot.records import Version
from packshot.release.bundle import Bundle, pack
from packshot.release.page import describe_version

log = logging.getLogger(__name__)


def register(params: Params, layout: Layout) -> Version:
    """Register the candidate of data/gate/verdict.json and let the alias `candidate` name it. Twice makes one version.

    Raises GateRefused where no checkpoint passed, IntegrityError where weights, verdict and evaluation are not those of one run,
    Unavailable where MLflow does not answer.
    """
    registry = Registry(layout, params.release.model)
    with tempfile.TemporaryDirectory(prefix="packshot-") as draft:
        folder = Path(draft) / "version"
        bundle = pack(params, layout, folder, data_version=data_version(layout), git_commit=git_commit(layout))
        candidate, verdict = bundle.candidate(), bundle.verdict()
        found = registry.find(candidate.sha256, verdict.content_digest())
        if found is None:
            lineage = bundle.lineage()
            version = Version(
                model=params.release.model,
                version=1,  # the registry counts
                sha256=candidate.sha256,
                checkpoint=candidate.name,
                dataset=verdict.dataset,
                passed=True,
            )
            tags = {
                "passed": "true",
                "verdict": verdict.content_digest(),
                "verdict_reason": verdict.reason,
                "evidence": verdict.evidence,
                "policy": verdict.policy,
                "family": candidate.family,
                "data_version": lineage.data_version or "not under DVC",
                "git_commit": lineage.git_commit or "not under Git",
            }
            if start := bundle.card().start:
                tags["started_from"] = start.name
            run = _find_run(registry.tracking, bundle)
            found = registry.add(bundle.folder, version, tags, run, lambda address: describe_version(bundle, run, address))
            log.info("%s version %d: %s", found.version.model, found.version.version, verdict.reason)
        registry.point("candidate", found.version.version)
    return found.version


def _find_run(tracking: Tracking, bundle: Bundle) -> str:
    """The MLflow run that trained the candidate.

    Weights that DVC brought back from its cache were trained elsewhere: a server that does not know their run gets one that says
    so, with the settings that the weights carry and the scores that they were given.
    """
    client, lineage, card = tracking.connect(), bundle.lineage(), bundle.card()
    tracking.replay(client)
    if lineage.mlflow_run and (known := tracking.resolve(client, lineage.mlflow_run)):
        return known
    sha256 = bundle.candidate().sha256
    if found := tracking.search(client, f"tags.restored_weights = '{sha256}'"):
        return str(found[0].info.run_id)
    settings = {f"model.{name}": str(value) for name, value in card.config.model_dump(mode="json").items()}
    tags = {
        "restored_weights": sha256,
        "restored_from": lineage.mlflow_run or "an untracked run",
        "dataset": card.dataset,
        "data_version": lineage.data_version,
        "git_commit": lineage.git_commit,
        "family": bundle.candidate().family,
    }
    scores = {score.metric: score.estimate.value for score in bundle.scorecard().scores}
    parameters: dict[str, str | int | float] = {**settings, "seed": card.seed, "step": card.step}
    with tracking.start(card.run, parameters=parameters, tags=tags) as run:
        run.metrics(card.step, {name: value for name, value in scores.items() if value is not None})
    if run.mlflow_run.startswith(PENDING):
        raise Unavailable("MLflow went away", where=tracking.address, advice="register again")
    return run.mlflow_run
