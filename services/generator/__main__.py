"""`python -m services.generator`: becomes `bentoml serve` on 127.0.0.1, port SERVICE_PORT (3000). From the project's root."""

from __future__ import annotations

import os
import sys

from packshot.errors import PackshotError
from packshot.layout import Layout
from packshot.ports import HOST, free_port

SECONDS_TO_END = 35
"""A request has 30 seconds (serving.app); whoever has not read its answer by then holds nothing up any longer."""


def main() -> None:
    """Check the port, then hand this process over."""
    try:
        port = free_port("SERVICE_PORT")
        home = os.environ.get("BENTOML_HOME") or str(Layout.here().bento_home)
    except PackshotError as error:
        sys.stderr.write(f"{error.line}\n")
        sys.exit(error.exit_code)
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")
    os.environ["BENTOML_HOME"] = home
    words = ["-m", "bentoml", "serve", "services.generator.service:Generator", "--host", HOST, "--port", str(port)]
    words += ["--timeout-graceful-shutdown", str(SECONDS_TO_END)]
    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606  a signal to this process is one to the service


if __name__ == "__main__":
    main()
