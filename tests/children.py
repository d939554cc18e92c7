"""Processes that tests start and kill, forked from one that imports once in a session what takes seconds to import."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from packshot.sources import crew

IMPORTED_ONCE = [
    "matplotlib.backends.backend_agg",
    "mlflow",
    "packshot.models.gan.model",
    "packshot.models.stylegan2.model",
    "packshot.models.vae.model",
    "packshot.stages.ingest",
    "packshot.stages.train",
    "pytest",
    "tests.training.kills",
    "torch._dynamo",
]


def forkserver() -> ForkServerContext:
    """The one way in which tests start such a process: whoever is first starts the server, for all of them."""
    # The server does not look where this process looks for modules, and says nothing of one that it does not find.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
        crew._run_server(IMPORTED_ONCE)  # ingest's own processes come from the same server
    return multiprocessing.get_context("forkserver")
