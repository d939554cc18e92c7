"""Everything that packshot raises on purpose, and the exit code that each becomes.

* PackshotError           70  a fault of packshot's own
  - UsageError             2  a command, a file or a setting does not say what it must
    - ParamsError          2  params.yaml does not say what it must
    - MissingArtifact      2  a stage was run before the stage that feeds it
  - DataRejected          10  the catalogue breaks its expectations
  - TrainingFailed        11  training diverged; nothing of it can be registered
  - GateRefused           12  no checkpoint passes the gate
  - ReviewRefused         13  the review is missing, refused or stale
  - PromotionLost         14  somebody else promoted first
  - IntegrityError        15  bytes are not those that were judged
  - Unavailable           20  a service that is needed does not answer
  - OutOfResources        22  out of disk or memory, or an I/O error
  - Locked                23  somebody else holds the lock
  - Stopped          128 + n  the signal n asked a training to end: 130 or 143; run again, it goes on
"""

from __future__ import annotations


class PackshotError(Exception):
    """What went wrong, where, and what to do about it. Printed as one line, never as a traceback."""

    exit_code = 70

    def __init__(self, what: str, *, where: str = "", advice: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.advice = what, where, advice

    def __str__(self) -> str:
        return ": ".join(part for part in (self.what, self.where, self.advice) if part)

    @property
    def line(self) -> str:
        """As a person at a terminal reads it."""
        return f"packshot: E{self.exit_code} {self}"


class UsageError(PackshotError):
    """A command, a file or a setting does not say what it must."""

    exit_code = 2


class ParamsError(UsageError):
    """params.yaml does not say what it must."""


class MissingArtifact(UsageError):
    """A stage was run before the stage that feeds it."""


class DataRejected(PackshotError):
    """The catalogue breaks its expectations."""

    exit_code = 10


class TrainingFailed(PackshotError):
    """Training diverged; nothing of it can be registered."""

    exit_code = 11


class GateRefused(PackshotError):
    """No checkpoint passes the gate."""

    exit_code = 12


class ReviewRefused(PackshotError):
    """The review is missing, refused or stale."""

    exit_code = 13


class PromotionLost(PackshotError):
    """Somebody else promoted first."""

    exit_code = 14


class IntegrityError(PackshotError):
    """Bytes are not those that were judged."""

    exit_code = 15


class Unavailable(PackshotError):
    """A service that is needed does not answer."""

    exit_code = 20


class OutOfResources(PackshotError):
    """Out of disk or memory, or an I/O error."""

    exit_code = 22


class Locked(PackshotError):
    """Somebody else holds the lock."""

    exit_code = 23


class Stopped(PackshotError):
    """A signal asked a training to end; run again, it goes on."""

    exit_code = 130

    def __init__(self, what: str, signal: int) -> None:
        super().__init__(what)
        self.exit_code = 128 + signal

    @property
    def line(self) -> str:
        """No fault, so no code."""
        return f"packshot: {self}"


def kind_of(code: int) -> type[PackshotError]:
    """The kind of error that ends a process with `code`, the general before the special; packshot's own fault where none does."""
    kinds = [PackshotError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return next((kind for kind in kinds if kind.exit_code == code), PackshotError)
