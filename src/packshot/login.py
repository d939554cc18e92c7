"""Who is at work on this machine."""

from __future__ import annotations

import getpass
import os


def login() -> str:
    """The login name of whoever runs this; the user's number where, as in many a container, it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
