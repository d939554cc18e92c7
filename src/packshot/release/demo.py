"""The demo: from the catalogue to pictures over HTTP, with nothing left running."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydantic import Field

from packshot.adapters.versioning import repro
from packshot.errors import Unavailable
from packshot.images.sheet import contact_sheet, encode_png
from packshot.layout import Layout
from packshot.params import Params
from packshot.records import Record, ServiceCard, Verdict, write_bytes
from packshot.release.promote import promote
from packshot.release.register import register
from packshot.release.review import review
from packshot.release.stale import verdict_is_stale
from packshot.serving.client import ask, generate

PICTURES_EACH = 8
MOST_VALUES = 24
"""Of an attribute, on its sheet."""
START_SECONDS = 300

log = logging.getLogger(__name__)


class Tour(Record):
    """Where the demo left what there is to see."""

    sheet: str
    report: str
    validation: str
    model: str
    version: int = Field(gt=0)
    pictures: int
    verdict: str


def demo(params: Params, layout: Layout, *, by: str, on_line: Callable[[str], None]) -> Tour:
    """Run the six stages, release the winner, ask the service for pictures, and stop it.

    What the stages print goes to `on_line`, a line at a time. A second run repeats only what has changed.
    Raises GateRefused where no checkpoint passes, ReviewRefused where people have to look first.
    """
    repro(layout, on_line=on_line)
    if verdict_is_stale(layout):
        log.info("the champion is another than the gate judged beside: judging again")
        repro(layout, ["evaluate"], on_line=on_line, single_item=True, force=True)
        repro(layout, ["gate"], on_line=on_line)
    verdict = Verdict.read(layout.stage("gate") / "verdict.json")
    log.info("the gate: %s", verdict.reason)
    register(params, layout)
    review(params, layout, by=by)
    live = promote(params, layout, by=by)
    log.info("%s version %d is the champion", live.model, live.version)
    with service(layout) as url:
        log.info("the service answers at %s", url)
        categories = json.loads(ask(f"{url}/describe").content)["categories"]
        drawn = [generate(url, name, count=PICTURES_EACH, seed=params.seed, sha256=live.sha256) for name in categories]
        _draw_attributes(url, ServiceCard.read(Path(live.card)), params.seed, layout.var / "demo")
    sheet = layout.var / "demo" / "pictures.png"
    labels = [label for name in categories for label in (name, *[""] * (PICTURES_EACH - 1))]
    pictures = np.concatenate(drawn)
    write_bytes(sheet, encode_png(contact_sheet(pictures, columns=2 * PICTURES_EACH, labels=labels, scale=2)))
    return Tour(
        sheet=str(sheet),
        report=str(layout.stage("gate") / "report.html"),
        validation=str(layout.stage("validate") / "report.html"),
        model=live.model,
        version=live.version,
        pictures=len(pictures),
        verdict=verdict.reason,
    )


def _draw_attributes(url: str, card: ServiceCard, seed: int, folder: Path) -> None:
    """For each label that the model knows, a sheet from the service: a row a category, a column a value, all from one seed."""
    for condition in card.conditions:
        if values := condition.values[:MOST_VALUES]:
            wishes = [(name, value) for name in card.categories for value in values]
            drawn = [
                generate(url, name, count=1, seed=seed, sha256=card.sha256, attributes={condition.name: value})
                for name, value in wishes
            ]
            labels = [f"{value} {name}" for name, value in wishes]
            sheet = contact_sheet(np.concatenate(drawn), columns=len(values), labels=labels, scale=2)
            write_bytes(folder / f"{condition.name}.png", encode_png(sheet))


@contextmanager
def service(layout: Layout) -> Iterator[str]:
    """Start the service on a free loopback port, give its address once it is ready, and stop its whole group at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    record = layout.var / "demo" / "service.log"
    record.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "services.generator"]
    own = {"SERVICE_PORT": str(port), "BENTOML_HOME": str(layout.bento_home), "PACKSHOT_LIVE": str(layout.live)}
    with record.open("wb") as sink:
        process = subprocess.Popen(
            command, cwd=layout.root, env={**os.environ, **own}, stdout=sink, stderr=sink, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _await_ready(process, url, record)
        yield url
    finally:
        _stop(process)


def _await_ready(process: subprocess.Popen[bytes], url: str, record: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            ask(f"{url}/readyz")
        except Unavailable:
            time.sleep(0.3)
        else:
            return
    raise Unavailable("the service does not become ready", where=str(record), advice="read its log")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the whole group to end; end it if it does not."""
    for sign, patience in ((signal.SIGTERM, 20.0), (signal.SIGKILL, 10.0)):
        try:
            os.killpg(process.pid, sign)
            process.wait(patience)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        else:
            return
