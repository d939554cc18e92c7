"""Whether a verdict may become a promotion, and how a challenger compares with the champion photo by photo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from packshot.errors import IntegrityError, MissingArtifact
from packshot.evaluation.bootstrap import estimate_mean
from packshot.records import Digest, Estimate, Name, Record, Verdict

MARGIN_NAMES: Mapping[str, str] = {"psnr": "psnr_margin", "ssim": "ssim_margin"}


class ReleaseParams(Record):
    """The section `release`: what the registered model is called, and who has to agree to a promotion."""

    model: Name = "packshot"
    review: Literal["auto", "manual"]
    """`auto`: the policy alone decides where it can compare. `manual`: people approve every promotion."""
    approvals: int = Field(1, ge=1, le=9)
    """By how many different people, wherever people are asked."""
    psnr_margin: float = Field(0.2, gt=0, le=10)
    """By how many decibels a challenger may at most be worse than the champion."""
    ssim_margin: float = Field(0.01, gt=0, le=1)
    """By how much structural similarity a challenger may at most be worse than the champion."""


@dataclass(frozen=True, slots=True)
class PhotoScores:
    """One checkpoint's PSNR (dB) and SSIM on each held-out photo, and the evidence that they were measured on."""

    evidence: Digest
    reconstruction: Literal["encoded", "searched"]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    psnr: NDArray[np.float64]
    ssim: NDArray[np.float64]


class Comparison(Record):
    """A challenger against the champion, on the same photos."""

    state: Literal["first", "same", "superior", "not_inferior", "inferior", "inconclusive", "not_comparable"]
    reason: str
    psnr: Estimate | None = None
    """Challenger less champion, in decibels."""
    ssim: Estimate | None = None
    """Challenger less champion."""


class Decision(Record):
    """What the review policy says: may it be promoted at all, and whose hand it still needs."""

    allowed: bool
    approvals: int
    """How many different people must approve first; 0 where the policy alone suffices."""
    reason: str


def read_photo_scores(path: Path, checkpoint: str, evidence: Digest) -> PhotoScores:
    """Read what the evaluation noted of each held-out photo for the checkpoint named `run@step` (`Checkpoint.name`).

    `path` is a photos.parquet as the stage evaluate writes it. Raises MissingArtifact where there is no such file,
    IntegrityError where it does not hold that checkpoint.
    """
    import pyarrow.parquet as pq

    if not path.is_file():
        raise MissingArtifact("no scores by photo", where=str(path), advice="run the stage 'evaluate' first")
    table = pq.read_table(path, filters=[("checkpoint", "==", checkpoint)])
    if not table.num_rows:
        raise IntegrityError(f"no photo was scored for {checkpoint}", where=str(path), advice="run the stage 'evaluate' again")
    return PhotoScores(
        evidence=evidence,
        reconstruction=table["reconstruction"][0].as_py(),
        ids=tuple(table["id"].to_pylist()),
        groups=tuple(table["group"].to_pylist()),
        psnr=table["psnr"].to_numpy(),
        ssim=table["ssim"].to_numpy(),
    )


def compare_scores(challenger: PhotoScores, champion: PhotoScores | None, params: ReleaseParams) -> Comparison:
    """Compare two models on the photos that both drew again: a paired bootstrap over groups of near-duplicates.

    Not inferior where the interval of the mean difference lies above minus the margin for PSNR and for SSIM (an
    intersection-union test: each at its own level needs no correction), superior where it also lies above 0 for one of them
    and nowhere across 0 from below; inferior where one interval lies below minus its margin.
    """
    if champion is None:
        return Comparison(state="first", reason="there is no champion yet")
    if challenger.reconstruction != champion.reconstruction:
        return Comparison(
            state="not_comparable",
            reason=f"the challenger's photos are {challenger.reconstruction}, the champion's {champion.reconstruction}",
        )
    if challenger.evidence != champion.evidence:
        return Comparison(state="not_comparable", reason="the champion was measured on other evidence")
    if challenger.ids != champion.ids:
        return Comparison(state="not_comparable", reason="the champion was measured on other photos")
    differences = {name: getattr(challenger, name) - getattr(champion, name) for name in MARGIN_NAMES}
    if not all(np.isfinite(values).all() for values in differences.values()):
        return Comparison(state="inferior", reason="a score of the challenger or of the champion is not a finite number")
    found = {name: estimate_mean(values, challenger.groups) for name, values in differences.items()}
    state = _state(found, {name: getattr(params, field) for name, field in MARGIN_NAMES.items()})
    words = ", ".join(f"{name} {_signed(estimate)}" for name, estimate in found.items())
    return Comparison(state=state, reason=f"{state.replace('_', ' ')} to the champion on the same photos: {words}", **found)


def review_policy(
    verdict: Verdict,
    params: ReleaseParams,
    *,
    weights: Digest,
    dataset: Digest,
    evidence: Digest,
    comparison: Comparison,
) -> Decision:
    """Decide whether the candidate of `verdict` may be promoted, and by how many people's approval.

    `weights`, `dataset` and `evidence` are the digests of what is at hand now: the weights to be promoted, the dataset that
    they were trained on, and the evaluation report's evidence. Each must be the one that was judged.
    """
    candidate = verdict.candidate

    def refuse(reason: str) -> Decision:
        return Decision(allowed=False, approvals=0, reason=reason)

    if not verdict.passed or candidate is None:
        return refuse(f"the gate did not pass it: {verdict.reason}")
    if candidate.sha256 != weights:
        return refuse(f"the weights are not those that were judged: {weights[:12]} is not {candidate.sha256[:12]}")
    if verdict.dataset != dataset:
        return refuse(f"the verdict was given on another dataset: {verdict.dataset[:12]} is not {dataset[:12]}")
    if verdict.evidence != evidence:
        return refuse(f"the verdict was given on other evidence: {verdict.evidence[:12]} is not {evidence[:12]}")
    if comparison.state == "inferior":
        return refuse(comparison.reason)
    if params.review == "auto" and comparison.state in {"first", "same", "superior", "not_inferior"}:
        return Decision(allowed=True, approvals=0, reason=comparison.reason)
    asked = f"{params.approvals} {'person' if params.approvals == 1 else 'people'} must approve"
    return Decision(allowed=True, approvals=params.approvals, reason=f"{asked}: {comparison.reason}")


def _state(
    found: Mapping[str, Estimate], margins: Mapping[str, float]
) -> Literal["same", "superior", "not_inferior", "inferior", "inconclusive"]:
    """Intervals of paired differences, held against their margins."""
    lows = {name: estimate.low if estimate.low is not None else -np.inf for name, estimate in found.items()}
    highs = {name: estimate.high if estimate.high is not None else np.inf for name, estimate in found.items()}
    if any(highs[name] < -margins[name] for name in found):
        return "inferior"
    if any(lows[name] <= -margins[name] for name in found):
        return "inconclusive"
    if all(lows[name] == highs[name] == 0 for name in found):
        return "same"
    if all(highs[name] >= 0 for name in found) and any(lows[name] > 0 for name in found):
        return "superior"
    return "not_inferior"


def _signed(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return f"withheld ({estimate.note})"
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"
