"""Say whether the candidate may be promoted: by the policy of params.yaml, or as a person.

A review is noted on the registered version and bound to the digests of the weights and of the verdict, and to the champion that
the candidate was compared with. It is stale as soon as one of them changes.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from packshot.adapters.registry import Registered, Registry
from packshot.errors import IntegrityError, ReviewRefused, UsageError
from packshot.evaluation.review import Decision, ReleaseParams, review_policy
from packshot.layout import Layout
from packshot.params import Params
from packshot.records import Digest, Record, file_digest
from packshot.release.bundle import Bundle
from packshot.release.ledger import Champion, Entry, Ledger

PREFIX = "review."
POLICY = "policy"


class Review(Record):
    """One review, as it is noted on the version."""

    kind: Literal["policy", "person"]
    decision: Literal["approved", "refused"]
    by: str
    reason: str
    at: str
    """UTC, ISO 8601."""
    sha256: Digest
    verdict: Digest
    epoch: int = Field(ge=0)
    """Of the champion that stood then; 0 where there was none."""


class Outcome(Record):
    """Where the candidate's review stands."""

    decision: Literal["approved", "refused", "waiting"]
    by: str
    reason: str


def review(params: Params, layout: Layout, *, by: str, approve: bool | None = None, reason: str = "") -> Outcome:
    """Review the candidate: by policy, or as the person `by` who approves or refuses it and says why.

    Raises ReviewRefused where the policy refuses it, or where people still have to approve and nobody does now.
    """
    registry, ledger = Registry(layout, params.release.model), Ledger(layout.ledger)
    candidate = find_candidate(registry)
    head = ledger.head()
    if head and head.champion == champion_of(candidate):
        return Outcome(decision="approved", by=head.by, reason=f"it is the champion already: {head.reason}")
    if approve is not None and not (reason.strip() and by.strip()):
        raise UsageError("a person's review says who and why", advice="add --by NAME --reason 'what you looked at'")
    with fetched(registry, candidate) as bundle:
        decision = decide(params.release, ledger, candidate, bundle, head)
    if approve is None and not decision.allowed:
        _note(registry, candidate, head, "policy", "refused", POLICY, decision.reason)
        registry.note(candidate.version.version, "review", "refused")
        raise ReviewRefused(decision.reason, where=_name(candidate), advice="register another candidate")
    if approve is True and not decision.allowed:
        raise ReviewRefused(
            decision.reason, where=_name(candidate), advice="no approval can lift this: register another candidate"
        )
    if approve is not None:
        _note(registry, candidate, head, "person", "approved" if approve else "refused", by.strip(), reason.strip())
    elif decision.approvals == 0:
        _note(registry, candidate, head, "policy", "approved", POLICY, decision.reason)
    outcome = assess(registry.version(candidate.version.version), decision, head)
    registry.note(candidate.version.version, "review", outcome.decision)
    if approve is None and outcome.decision != "approved":
        raise ReviewRefused(outcome.reason, where=_name(candidate), advice="packshot review --approve --by NAME --reason WHY")
    return outcome


def find_candidate(registry: Registry) -> Registered:
    """The version that the alias `candidate` names. Raises UsageError where there is none."""
    candidate = registry.at("candidate")
    if candidate is None:
        raise UsageError(f"{registry.model} has no candidate", advice="packshot register")
    return candidate


@contextmanager
def fetched(registry: Registry, registered: Registered) -> Iterator[Bundle]:
    """The files of a version, downloaded and checked. Raises IntegrityError where they are not those that were registered."""
    with tempfile.TemporaryDirectory(prefix="packshot-") as draft:
        bundle = Bundle(registry.fetch(registered, Path(draft)))
        bundle.check(registered.version.sha256, registered.verdict)
        yield bundle


def champion_of(registered: Registered) -> Champion:
    """What the ledger would say of this version."""
    version = registered.version
    return Champion(model=version.model, version=version.version, sha256=version.sha256, verdict=registered.verdict)


def decide(params: ReleaseParams, ledger: Ledger, candidate: Registered, bundle: Bundle, head: Entry | None) -> Decision:
    """What the policy says of the candidate while `head` stands.

    What was rolled back needs people, whatever the scores say; nobody can approve what has learnt from photos whose rights ended.
    """
    if expired := bundle.lineage().expired:
        return Decision(allowed=False, approvals=0, reason=expired)
    decision = review_policy(
        bundle.verdict(),
        params,
        weights=file_digest(bundle.weights),
        dataset=bundle.card().dataset,
        evidence=bundle.evaluation().evidence,
        champion=head.sha256 if head else None,
    )
    if decision.allowed and decision.approvals == 0 and candidate.version.sha256 in ledger.withdrawn():
        reason = f"{_people(params.approvals)} must approve: these weights were rolled back before"
        return decision.model_copy(update={"approvals": params.approvals, "reason": reason})
    return decision


def assess(candidate: Registered, decision: Decision, head: Entry | None) -> Outcome:
    """Hold the reviews on a version against what the policy asks for while `head` stands."""
    bound = (candidate.version.sha256, candidate.verdict, head.epoch if head else 0)
    noted = read_reviews(candidate)
    valid = [one for one in noted if (one.sha256, one.verdict, one.epoch) == bound]
    if not decision.allowed:
        return Outcome(decision="refused", by=POLICY, reason=decision.reason)
    if against := [one for one in valid if one.kind == "person" and one.decision == "refused"]:
        return Outcome(decision="refused", by=against[-1].by, reason=against[-1].reason)
    people = {one.by.casefold(): one for one in valid if one.kind == "person"}
    if decision.approvals and len(people) >= decision.approvals:
        by = ", ".join(sorted(one.by for one in people.values()))
        return Outcome(decision="approved", by=by, reason="; ".join(one.reason for one in people.values()))
    if not decision.approvals and (agreed := [one for one in valid if one.decision == "approved"]):
        return Outcome(decision="approved", by=agreed[-1].by, reason=agreed[-1].reason)
    missing = decision.approvals - len(people)
    reason = (
        f"{_people(missing)} more must approve" if people else decision.reason if decision.approvals else "nobody reviewed it"
    )
    if noted and not valid:
        reason += "; earlier reviews are stale: weights, verdict or champion are not those that were reviewed"
    return Outcome(decision="waiting", by="", reason=reason)


def read_reviews(registered: Registered) -> tuple[Review, ...]:
    """Every review on a version, the oldest first. Raises IntegrityError where one is none of packshot's."""
    try:
        reviews = [Review.model_validate_json(text) for name, text in registered.tags.items() if name.startswith(PREFIX)]
    except ValidationError as error:
        raise IntegrityError("a review on it is not packshot's", where=_name(registered), advice="review it again") from error
    return tuple(sorted(reviews, key=lambda one: one.at))


def _note(
    registry: Registry,
    candidate: Registered,
    head: Entry | None,
    kind: Literal["policy", "person"],
    decision: Literal["approved", "refused"],
    by: str,
    reason: str,
) -> None:
    noted = Review(
        kind=kind,
        decision=decision,
        by=by,
        reason=reason,
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        sha256=candidate.version.sha256,
        verdict=candidate.verdict,
        epoch=head.epoch if head else 0,
    )
    registry.note(candidate.version.version, f"{PREFIX}{kind}.{_slug(by)}", noted.model_dump_json())


def _slug(by: str) -> str:
    """A tag's name for a person: one person has one review, two people never share one."""
    plain = re.sub(r"[^a-z0-9]+", "-", by.casefold()).strip("-")
    return f"{plain[:40]}-{hashlib.sha256(by.casefold().encode()).hexdigest()[:8]}"


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"


def _name(registered: Registered) -> str:
    return f"{registered.version.model} version {registered.version.version}"
