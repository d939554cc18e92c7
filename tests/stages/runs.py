"""ingest in a process of its own, which may be killed."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

from packshot.images import store
from packshot.layout import Layout
from packshot.sources import IngestParams, spool
from packshot.stages.ingest import ingest
from tests.children import forkserver


def run_ingest(root: Path, section: IngestParams, failpoint: str = "") -> int:
    """Ingest with small shards in another process; gives back its exit code, negative for a signal."""
    process = forkserver().Process(target=_ingest, args=(root, section.model_dump_json(), failpoint))
    process.start()
    process.join(120)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def _ingest(root: Path, section: str, failpoint: str) -> None:
    os.environ["PACKSHOT_FAILPOINT"] = failpoint
    store.SHARD_ROWS, spool.SEGMENT_ROWS = 8, 5
    ingest(SimpleNamespace(ingest=IngestParams.model_validate_json(section)), Layout(root))
