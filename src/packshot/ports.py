"""The ports of the project's servers on this machine: one that is taken is named before anything is started.

`python -m packshot.ports NAME...` checks the ports that the variables NAME hold (MLFLOW_PORT, PREFECT_PORT, SERVICE_PORT).
"""

from __future__ import annotations

import os
import socket
import sys

from packshot.errors import PackshotError, UsageError

HOST = "127.0.0.1"
USUAL = {"MLFLOW_PORT": 5000, "PREFECT_PORT": 4200, "SERVICE_PORT": 3000}


def free_port(name: str) -> int:
    """The port that the variable `name` holds, or its usual one. Raises UsageError where it is none, or cannot be listened on."""
    text = os.environ.get(name) or str(USUAL[name])
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 2**16):
        raise UsageError(f"{name} is {text!r}", advice="a port is a number from 1 to 65535")
    port = int(text)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what a server of ours has just left is free
        try:
            probe.bind((HOST, port))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UsageError(
                f"port {port} cannot be had", where=reason, advice=f"stop who holds it, or name another: {name}={port + 1}"
            ) from None
    return port


def main() -> None:
    """Check every port that is named; the first that cannot be had ends this with its one line."""
    try:
        for name in sys.argv[1:]:
            free_port(name)
    except PackshotError as error:
        sys.stderr.write(f"{error.line}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
