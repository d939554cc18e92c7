"""Whether a verdict may become a promotion, and whether people have to look first."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from packshot.records import Digest, Finding, Name, Record, Verdict


class ReleaseParams(Record):
    """The section `release`: what the registered model is called, and who has to agree to a promotion."""

    model: Name = "packshot"
    review: Literal["auto", "manual"]
    """`auto`: the policy alone decides where the gate could compare. `manual`: people approve every promotion."""
    approvals: int = Field(1, ge=1, le=9)
    """By how many different people, wherever people are asked."""


class Decision(Record):
    """What the review policy says: may it be promoted at all, and whose hand it still needs."""

    allowed: bool
    approvals: int
    """How many different people must approve first; 0 where the policy alone suffices."""
    reason: str


def review_policy(
    verdict: Verdict, params: ReleaseParams, *, weights: Digest, dataset: Digest, evidence: Digest, champion: Digest | None
) -> Decision:
    """Decide whether the candidate of `verdict` may be promoted, and by how many people's approval.

    `weights`, `dataset` and `evidence` are the digests of what is at hand now: the weights to be promoted, the dataset that
    they were trained on, and the evaluation report's evidence. Each must be the one that was judged. `champion` are the weights
    of whoever is champion now, None where nobody is: a verdict beside anybody else is stale.
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
    if is_stale(verdict, champion):
        return refuse(
            f"it was judged beside {_name(verdict)}, who is not champion now: evaluate and gate it again, then register"
        )
    compared, reason = _comparison(verdict, champion)
    if params.review == "auto" and compared:
        return Decision(allowed=True, approvals=0, reason=reason)
    asked = f"{params.approvals} {'person' if params.approvals == 1 else 'people'} must approve"
    return Decision(allowed=True, approvals=params.approvals, reason=f"{asked}: {reason}")


def is_stale(verdict: Verdict, champion: Digest | None) -> bool:
    """Whether somebody else has become champion since a verdict was given; its own candidate makes it no staler."""
    judged_beside = verdict.champion.sha256 if verdict.champion else None
    promoted = verdict.candidate is not None and verdict.candidate.sha256 == champion
    return champion != judged_beside and not promoted


def _comparison(verdict: Verdict, champion: Digest | None) -> tuple[bool, str]:
    """Whether the gate's comparison settles it, and what it came to."""
    if champion is None:
        return True, "there is no champion yet"
    if verdict.candidate and verdict.candidate.sha256 == champion:
        return True, "it is the champion"
    if not verdict.compared:
        why = verdict.champion.reason if verdict.champion and not verdict.champion.comparable else ""
        return False, f"the gate could not compare it with {_name(verdict)}{f': {why}' if why else ''}"
    findings = next(said.findings for said in verdict.judgements if said.checkpoint == verdict.candidate)
    told = {finding.metric: _tell(finding) for finding in findings if finding.kind == "champion"}
    return True, f"on the same photos and seeds as {_name(verdict)}: {', '.join(told.values()) or 'nothing is asked'}"


def _name(verdict: Verdict) -> str:
    return f"version {verdict.champion.version}" if verdict.champion else "nobody"


def _tell(finding: Finding) -> str:
    if finding.value is None or finding.low is None or finding.high is None:
        return f"{finding.metric} withheld"
    return f"{finding.metric} {finding.value:+.3g} [{finding.low:+.3g}, {finding.high:+.3g}]"
