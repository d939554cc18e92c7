"""The command line: every stage and every act is one word. The only place that prints."""

from __future__ import annotations

import errno
import logging
import os
import pydoc
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packshot.errors import GateRefused, OutOfResources, PackshotError, UsageError
from packshot.layout import Layout
from packshot.login import login
from packshot.stages import STAGES, run_stage

if TYPE_CHECKING:
    from rich.console import RenderableType

    from packshot.params import Params

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
catalog = typer.Typer(no_args_is_help=True, help="The shop's photos, versioned by DVC.")
app.add_typer(catalog, name="catalog")
gate = typer.Typer(invoke_without_command=True)

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "BENTOML_DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
}
"""No tool that packshot starts reports home, or tells people of its own workings."""

PATIENT = {"GOMP_SPINCOUNT": "5000"}
"""OpenMP's threads soon sleep while they wait for each other. Spinning as long as they do by default, two of them train four
times as slowly on a machine that is busy with something else; this costs about 5 % on a quiet one."""


@app.callback()
def packshot(
    project: Annotated[Path | None, typer.Option(help="The project's folder; the working directory's by default.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say only what needs attention, and results.")] = False,
) -> None:
    """From a folder of product photos to a reviewed, gated, served image generator.

    The six stages run by `dvc repro`; register, review, promote and rollback change what is served.
    Exit codes: 0 ok, 2 usage or params, 10 data rejected, 11 training failed, 12 gate refused, 13 review refused,
    14 promotion lost, 15 bytes changed, 20 unavailable, 22 out of disk or memory, 23 locked, 70 a fault of packshot,
    130 or 143 stopped by a signal.
    """
    if project is not None:
        if not project.is_dir():
            raise typer.BadParameter(f"{project}: no such folder", param_hint="--project")
        os.chdir(project)
    logging.getLogger().setLevel(logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO)
    _settings["debug"] = debug


_settings = {"debug": False}


def _project() -> tuple[Params, Layout]:
    from packshot.params import load_params

    layout = Layout.here()
    return load_params(layout.params), layout


def _add_stage(name: str, summary: str) -> None:
    def run() -> None:
        params, layout = _project()
        run_stage(name, params, layout)

    if name == "gate":
        gate.callback(help=summary)(_gate)
        app.add_typer(gate, name=name)
    else:
        app.command(name, help=summary)(_train if name == "train" else run)


def _train(
    profile: Annotated[
        bool, typer.Option("--profile", help="Only look where the time of 30 steps goes, into var/profile; nothing is trained.")
    ] = False,
    run: Annotated[str, typer.Option(metavar="NAME", help="With --profile: this run alone.")] = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Only go on from what was stopped; refuse, with what differs, to begin anew.")
    ] = False,
) -> None:
    params, layout = _project()
    if resume and profile:
        raise UsageError("--resume trains, --profile does not", where="packshot train", advice="leave one of them out")
    if profile:
        os.environ.setdefault("KINETO_LOG_LEVEL", "9")  # torch's profiler speaks of a GPU that is not there
        from packshot.stages.profile import profile as look

        for found in look(params, layout, run):
            typer.echo(f"{found.text}\n{found.page}, {found.picture.name}, {found.trace.name} (for ui.perfetto.dev)\n")
        return
    if run:
        raise UsageError("--run is for a profile", where="packshot train", advice="add --profile, or leave it out")
    from packshot.stages.train import train

    train(params, layout, resume=resume)


def _gate(
    context: typer.Context,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="For CI: exit with 12 where no checkpoint passes. The verdict is written all the same."),
    ] = False,
) -> None:
    if context.invoked_subcommand:
        if strict:
            raise UsageError("--strict stands after 'replay'", where="packshot gate", advice="packshot gate replay --strict ...")
        return
    params, layout = _project()
    from packshot.stages.gate import gate as judge

    verdict = judge(params, layout)
    if strict and not verdict.passed:
        raise GateRefused(verdict.reason, where=str(layout.stage("gate") / "report.html"), advice="it says what would pass")


@gate.command("replay")
def gate_replay(
    policy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Another params.yaml, or its section 'gate' alone; params.yaml by default."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="For CI: exit with 12 where any verdict of the past would change.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="For machines: one JSON document.")] = False,
) -> None:
    """Judge every evaluation of the past anew, under another policy, and say whose verdict would change.

    Nothing is written and nothing is promoted. Each is held against the champion of its day.
    Exit codes: 0 told, 2 nothing was ever judged here or the policy is not one, 12 with --strict: a verdict would change.
    """
    from packshot.params import load_policy
    from packshot.stages.hearings import read_hearings, replay, tell_replay

    layout = Layout.here()
    params = load_policy(policy or layout.params)
    hearings = read_hearings(layout)
    if not hearings:
        raise UsageError("nothing was ever judged here", where=str(layout.hearings), advice="packshot gate")
    told = replay(hearings, params)
    _tell(told.model_dump_json(indent=2) if json else tell_replay(told))
    changed = sum(one.changed for one in told.hearings)
    if strict and changed:
        raise GateRefused(f"{changed} of {len(told.hearings)} verdicts would change", where=str(policy or layout.params))


for _name, _summary in zip(
    STAGES,
    (
        "Bring the photos in: decode, name the bad ones, write the manifest.",
        "Hold the catalogue against its expectations; refuse a bad one.",
        "Split without leaks and pack the pixels for training.",
        "Train every run of params.yaml, or resume what was interrupted.",
        "Measure every checkpoint on held-out photos.",
        "Judge every checkpoint and name the candidate, or say why there is none.",
    ),
    strict=True,
):
    _add_stage(_name, _summary)


Column = Annotated[str, typer.Option(metavar="COLUMN", help="Of a table; found by its usual names where it is not said.")]


@catalog.command("add")
def catalog_add(
    photos: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="A folder of category/photo.jpg, a .csv or .parquet, a .zip or .tar, or a URL."),
    ],
    merge: Annotated[
        bool, typer.Option("--merge", help="Keep the photos that are there; add these, or replace them by name.")
    ] = False,
    image: Column = "",
    category: Column = "",
    sku: Column = "",
    licence: Column = "",
    source: Column = "",
    consent: Column = "",
    expiry: Column = "",
    below: Annotated[str, typer.Option(metavar="FOLDER", help="Of an archive: the folder in it that holds the categories.")] = "",
) -> None:
    """Pack photos into data/catalog, or import a URL as it is into data/import, under DVC either way."""
    from packshot.adapters.delivery import deliver
    from packshot.sources.detect import Columns

    columns = Columns(image, category, sku, licence, source, consent, expiry)
    for line in deliver(Layout.here(), photos, columns, below=below, merge=merge).lines():
        typer.echo(line)


AsJson = Annotated[bool, typer.Option("--json", help="For machines: one JSON document.")]


@catalog.command("status")
def catalog_status(json: AsJson = False) -> None:
    """Say what the data is now, what is not yet ingested, judged or committed, and what to run next.

    Exit codes: 0 told (whatever it says), 2 usage or params.
    """
    from packshot.catalog.status import status as look
    from packshot.catalog.text import tell_status

    now = look(*_project())
    _tell(now.model_dump_json(indent=2) if json else tell_status(now))


@catalog.command("diff")
def catalog_diff(
    before: Annotated[str, typer.Argument(metavar="A", help="A Git revision.")] = "HEAD",
    after: Annotated[str, typer.Argument(metavar="B", help="Another; what stands in data/ingest by default.")] = "workspace",
    out: Annotated[
        Path | None, typer.Option(help="Where sheet.png, diff.html and diff.json go; below var/diff by default.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Say what changed from one data version to another, and draw it: a contact sheet and a page that opens offline.

    Exit codes: 0 told (also where nothing changed), 2 no such revision or nothing ingested at it, 15 bytes changed,
    20 neither DVC's cache nor its remote has the data.
    """
    from packshot.catalog.diff import diff
    from packshot.catalog.text import tell_diff

    drawn = diff(Layout.here(), before, after, folder=out)
    _tell(drawn.diff.model_dump_json(indent=2) if json else tell_diff(drawn))


@catalog.command("show")
def catalog_show(
    name: Annotated[str, typer.Argument(help="A photo's path or sha256 (six digits do); without, what is quarantined.")] = "",
    reason: Annotated[str, typer.Option(metavar="CODE", help="Only what is quarantined for this reason.")] = "",
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the photo and its near-duplicates there, as a PNG.")
    ] = None,
    json: AsJson = False,
) -> None:
    """List the quarantined files with their reasons, or tell all about one photo.

    Exit codes: 0 told, 2 no such photo or reason, or nothing ingested yet.
    """
    from packshot.catalog.show import draw_photo, find_photo, list_quarantined
    from packshot.catalog.text import tell_photo, tell_quarantine

    if not name:
        if picture:
            raise UsageError("--picture is of one photo", where="packshot catalog show", advice="name the photo")
        files = list_quarantined(Layout.here(), reason)
        _tell(files.model_dump_json(indent=2) if json else tell_quarantine(files))
        return
    if reason:
        raise UsageError("--reason is for the list", where="packshot catalog show", advice="leave out the reason or the name")
    facts = find_photo(Layout.here(), name)
    if picture:
        draw_photo(Layout.here(), facts, picture)
    _tell(facts.model_dump_json(indent=2) if json else tell_photo(facts))


def _tell(told: str | RenderableType) -> None:
    """Print; in a terminal in colour, and page by page where it is longer than the screen."""
    from packshot.catalog.text import render

    terminal = sys.stdout.isatty()
    text = told if isinstance(told, str) else render(told, terminal=terminal)
    if terminal and text.count("\n") >= shutil.get_terminal_size().lines:
        os.environ.setdefault("LESS", "FRX")  # colours as they are meant, as Git sets it
        pydoc.pager(text)
    else:
        typer.echo(text)


By = Annotated[str, typer.Option(help="Who does it; the login name by default.", envvar="PACKSHOT_BY")]


@app.command(hidden=True)
def trial(folder: Annotated[Path, typer.Argument(help="Where the flow `search` left the order.")]) -> None:
    """Train one trial of a search and print its scores, each as `score STEP/STEPS VALUE`; the flow `search` starts it."""
    from packshot.stages.trial import trial as run

    run(Layout.here(), folder, lambda step, steps, value: typer.echo(f"score {step}/{steps} {value!r}"))


@app.command()
def register() -> None:
    """Bring the gate's candidate into the model registry."""
    from packshot.release.register import register as act

    version = act(*_project())
    typer.echo(f"{version.model} version {version.version} is the candidate ({version.checkpoint}, sha256 {version.sha256[:12]})")


@app.command()
def review(
    approve: Annotated[bool | None, typer.Option("--approve/--refuse", help="Say yes or no as a person.")] = None,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    by: By = "",
) -> None:
    """Review the candidate: by the policy of params.yaml, or as a person with --approve or --refuse."""
    from packshot.release.review import review as act

    params, layout = _project()
    outcome = act(params, layout, by=by or login(), approve=approve, reason=reason)
    typer.echo(f"{outcome.decision}{f' by {outcome.by}' if outcome.by else ''}: {outcome.reason}")


@app.command()
def promote(by: By = "") -> None:
    """Make the reviewed candidate the champion; the running service follows."""
    from packshot.release.promote import promote as act

    params, layout = _project()
    live = act(params, layout, by=by or login())
    typer.echo(f"{live.model} version {live.version} is the champion (epoch {live.epoch}, sha256 {live.sha256[:12]})")


@app.command()
def rollback(
    reason: Annotated[str, typer.Option(help="Why.")],
    by: By = "",
) -> None:
    """Put the previous champion back; the running service follows."""
    from packshot.release.rollback import rollback as act

    live = act(Layout.here(), by=by or login(), reason=reason)
    typer.echo(f"{live.model} version {live.version} is the champion again (epoch {live.epoch}, sha256 {live.sha256[:12]})")


@app.command()
def status() -> None:
    """Say what is served, what waits, and how it came to be."""
    from packshot.release.status import status as read

    now = read(Layout.here())
    typer.echo(f"champion   {_version(now.champion)}  epoch {now.epoch}  sha256 {now.sha256[:12] or '-'}  service: {now.live}")
    typer.echo(f"candidate  {_version(now.candidate)}  {now.review}")
    if now.alias != now.champion and not now.registry:
        typer.echo(f"the alias 'champion' names {_version(now.alias)}: the ledger counts; promote again or roll back to mend it")
    if now.registry:
        typer.echo(f"registry   {now.registry}")
    for entry in now.history:
        typer.echo(f"  {entry.at}  epoch {entry.epoch}  {entry.act}  by {entry.by}: {entry.reason}")


def _version(number: int | None) -> str:
    return "none" if number is None else f"version {number}"


@app.command()
def demo(by: By = "") -> None:
    """Run the whole lifecycle once, ask the service for pictures, and stop what was started."""
    from packshot.release.demo import demo as act

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # asked to end, it still stops what it started
    tour = act(*_project(), by=by or login(), on_line=typer.echo)
    typer.echo("")
    typer.echo(f"  {tour.verdict}")
    typer.echo(f"  pictures   {tour.sheet} ({tour.pictures} asked for over HTTP)")
    typer.echo(f"  report     {tour.report}")
    typer.echo(f"  photos     {tour.validation}")
    page = f"http://127.0.0.1:5000/#/models/{tour.model}?workflowType=machine_learning"
    typer.echo(f"  registry   {tour.model} version {tour.version}: make up, then {page}")
    typer.echo("  service    make serve, then http://127.0.0.1:3000")
    typer.echo("  roll back  packshot rollback --reason '...'")


def main() -> None:
    """Run the command line; every error of a user's becomes one line and a documented exit code."""
    for name, value in {**QUIET, **PATIENT}.items():
        os.environ.setdefault(name, value)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    for chatty in ("alembic", "mlflow", "great_expectations", "urllib3", "matplotlib", "PIL", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        app(standalone_mode=True)
    except PackshotError as error:
        _fail(error)
    except OSError as error:
        where = str(error.filename or "")
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            _fail(
                UsageError(
                    error.strerror or "not permitted", where=where, advice="packshot must be allowed to read and write there"
                )
            )
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}:
            _bug(error)
        advice = "make room, then run it again"
        _fail(OutOfResources(error.strerror or "I/O error", where=where, advice=advice))
    except MemoryError:
        _fail(OutOfResources("out of memory", advice="use a smaller batch or a larger machine, then run it again"))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # the last line of defence: a user never sees a bare traceback
        _bug(error)


def _fail(error: PackshotError) -> None:
    if _settings["debug"]:
        logging.getLogger(__name__).exception("the error in full")
    typer.echo(error.line, err=True)
    sys.exit(error.exit_code)


def _bug(error: Exception) -> None:
    if _settings["debug"]:
        raise error
    advice = "this is a fault of packshot; run it again with --debug and report what it prints"
    _fail(PackshotError(f"{type(error).__name__}: {error}", advice=advice))


if __name__ == "__main__":
    main()
