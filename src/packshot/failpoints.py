"""Places where a test may end the process as a power cut would. Inert unless PACKSHOT_FAILPOINT names one.

PACKSHOT_FAILPOINT=name[:n]:kill kills the process with SIGKILL at the n-th passage of that name (the first, where n is left out);
:term and :int send it SIGTERM and SIGINT, as somebody who wants it to end would. Counting passages instead of seconds makes them
land at the same place on every machine.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}

_passages: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Pass the place `name`."""
    wanted = os.environ.get("PACKSHOT_FAILPOINT")
    if not wanted:
        return
    place, *rest = wanted.split(":")
    if place != name or not rest or rest[-1] not in SIGNALS:
        return
    _passages[name] += 1
    if _passages[name] == (int(rest[0]) if len(rest) > 1 else 1):
        os.kill(os.getpid(), SIGNALS[rest[-1]])
