"""Places where a test may end the process as a power cut would. Inert unless PACKSHOT_FAILPOINT names one.

PACKSHOT_FAILPOINT=name[:n]:kill kills the process with SIGKILL at the n-th passage of that name (the first, where n is left out).
Counting passages instead of seconds makes a kill land at the same place on every machine.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

_passages: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Pass the place `name`."""
    wanted = os.environ.get("PACKSHOT_FAILPOINT")
    if not wanted:
        return
    place, *rest = wanted.split(":")
    if place != name or rest[-1:] != ["kill"]:
        return
    _passages[name] += 1
    if _passages[name] == (int(rest[0]) if len(rest) > 1 else 1):
        os.kill(os.getpid(), signal.SIGKILL)
