"""The command line: reads input, calls one workflow, shows its result.

Heavy libraries are imported inside the commands that need them, so that `workbench --help` answers at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.errors import CheckFailedError, InputError, WorkbenchError

if TYPE_CHECKING:
    from workbench.erasure.intake import Intake
    from workbench.progress import Progress
    from workbench.workspace import Workspace

app = typer.Typer(
    help="Differentially private synthetic data and exact machine unlearning for tables about people.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
schema_app = typer.Typer(help="Schemas: the public description of a table.", no_args_is_help=True)
ledger_app = typer.Typer(help="Privacy budgets and what was spent.", no_args_is_help=True)
suppressions_app = typer.Typer(help="Who may not come back: keyed hashes of erased people.", no_args_is_help=True)
jobs_app = typer.Typer(help="Long work, here or in processes of its own.", no_args_is_help=True)
requests_app = typer.Typer(help="Erasure requests.", no_args_is_help=True)
app.add_typer(schema_app, name="schema")
app.add_typer(ledger_app, name="ledger")
app.add_typer(requests_app, name="requests")
keys_app = typer.Typer(help="The keys that sign certificates.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
app.add_typer(jobs_app, name="jobs")
app.add_typer(suppressions_app, name="suppressions")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a field of the config.")]
Detach = Annotated[
    bool, typer.Option("--detach", help="Hand it to a process of its own; workbench jobs list shows it.")
]
DEFAULT_WORKSPACE = Path("artifacts")
_INTERRUPTED = 130  # what the parser makes of Ctrl-C


@app.callback()
def options(
    context: typer.Context,
    workspace: Annotated[
        Path, typer.Option(envvar="WORKBENCH_HOME", help="The folder of the workspace.", show_default=True)
    ] = DEFAULT_WORKSPACE,
) -> None:
    """Options of every command."""
    context.obj = workspace


@app.command()
def init(context: typer.Context, as_json: Json = False) -> None:
    """Make a workspace: folders, keys, database and tracking store."""
    from workbench.workflows.initialise import initialise

    workspace = initialise(context.obj)
    key = workspace.root / "keys" / "signing.pub.pem"
    show({"workspace": str(workspace.root), "public_key": str(key)}, as_json)


@schema_app.command("infer")
def schema_infer(
    file: Path,
    out: Annotated[Path, typer.Option("-o", "--out", help="Where to write the proposal.")],
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    subject: Annotated[
        str | None, typer.Option(help="The column that identifies a person; default: each row is one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Propose a schema for a table, for a person to review. It reads the data."""
    from workbench.workflows.propose import propose_schema

    with _progress("reading") as progress:
        result = propose_schema(file, out, target=target, subject=subject, progress=progress)
    show(result, as_json)


@app.command()
def ingest(
    context: typer.Context,
    name: str,
    schema: Annotated[Path | None, typer.Option(help="The schema file; not for bundled data sets.")] = None,
    data: Annotated[Path | None, typer.Option(help="The table: .csv, .csv.gz or .parquet.")] = None,
    append: Annotated[bool, typer.Option("--append", help="Add the rows to a data set that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Take in a table: adult, oulad or german from the box, or one of your own; or add rows to one."""
    from workbench.workflows.ingest import append as add
    from workbench.workflows.ingest import ingest as run

    if append and (schema is not None or data is None):
        raise InputError("--append takes --data, and no --schema: a data set keeps the one it has")
    with _progress("ingesting") as progress:
        if append and data is not None:
            result = add(_workspace(context), name, data=data, progress=progress)
        else:
            result = run(_workspace(context), name, schema=schema, data=data, progress=progress)
    show(result, as_json)


@ledger_app.command("budget")
def ledger_budget(
    context: typer.Context,
    dataset: str,
    epsilon: Annotated[float, typer.Option(help="The most that may ever be spent.")],
    delta: Annotated[float, typer.Option(help="Well under one over the number of subjects.")],
    as_json: Json = False,
) -> None:
    """Set the privacy budget of a data set's population."""
    from workbench.workflows.ledger import set_budget

    show(set_budget(_workspace(context), dataset, epsilon=epsilon, delta=delta), as_json)


@ledger_app.command("show")
def ledger_show(context: typer.Context, dataset: str, as_json: Json = False) -> None:
    """Show the budget of a data set's population and every charge."""
    from workbench.workflows.ledger import show_ledger

    show(show_ledger(_workspace(context), dataset), as_json)


@app.command()
def synthesize(
    context: typer.Context, config: Path, overrides: Set = None, detach: Detach = False, as_json: Json = False
) -> None:
    """Fit a differentially private generator and release a synthetic table."""
    from workbench.config import SynthesizeConfig, read_config

    settings = read_config(config, SynthesizeConfig, overrides or ())
    _run_job(context, "synthesize", settings.model_dump(mode="json"), detach, as_json)


@app.command()
def sample(
    context: typer.Context,
    generator: str,
    n: Annotated[int, typer.Option("-n", help="How many rows.")],
    out: Annotated[Path, typer.Option(help="A .parquet or .csv file.")],
    seed: Annotated[int | None, typer.Option(help="Equal seeds give equal rows.", min=0)] = None,
    as_json: Json = False,
) -> None:
    """Draw rows from a fitted generator; this costs no budget."""
    from workbench.workflows.sample import sample as run

    with _progress("sampling") as progress:
        result = run(_workspace(context), generator, n, out, seed=seed, progress=progress)
    show(result, as_json)


@app.command()
def train(
    context: typer.Context, config: Path, overrides: Set = None, detach: Detach = False, as_json: Json = False
) -> None:
    """Train a SISA ensemble."""
    from workbench.config import TrainConfig, read_config

    settings = read_config(config, TrainConfig, overrides or ())
    _run_job(context, "train", settings.model_dump(mode="json"), detach, as_json)


@app.command()
def predict(
    context: typer.Context,
    ensemble: str,
    data: Annotated[Path, typer.Option(help="A table with the feature columns.")],
    out: Annotated[Path, typer.Option(help="A .parquet file.")],
    as_json: Json = False,
) -> None:
    """Predict with an ensemble's current version; shards under quarantine don't answer."""
    from workbench.workflows.predict import predict as run

    show(run(_workspace(context), ensemble, data, out), as_json)


@app.command()
def erase(
    context: typer.Context,
    keys: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY]...", help="Who: identifiers, or row numbers; after -- if one begins with a dash."
        ),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Only this data set.")] = None,
    file: Annotated[
        str | None, typer.Option(help="Keys by line, .csv, .jsonl or OpenDSR .json; - for standard input.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    as_json: Json = False,
) -> None:
    """Erase people: retrain what they touched, purge, verify, certify. Keys in a file stay out of the process list."""
    from workbench.workflows.erase import erase as run

    intake = _read_requests(file) if file else None
    everyone = [*(keys or ()), *(intake.asked if intake else ())]
    malformed = intake.malformed if intake else ()
    with _progress("erasing") as progress:
        result = run(
            _workspace(context), everyone, dataset=dataset, malformed=malformed, dry_run=dry_run, progress=progress
        )
    worst = max((request.pop("exit", 0) for request in result["requests"]), default=0)
    show(result, as_json)
    raise typer.Exit(worst)


@app.command()
def verify(
    context: typer.Context,
    certificate: Path,
    replay: Annotated[bool, typer.Option("--replay", help="Train the affected shards again and compare.")] = False,
    key: Annotated[Path | None, typer.Option(help="The signer's PUBLIC.pem; default: the workspace's own.")] = None,
    as_json: Json = False,
) -> None:
    """Verify a certificate; with --key and no workspace, by its signature alone."""
    from workbench.workflows.verify import verify as run

    alone = key is not None and not replay and not (context.obj / "state.db").exists()
    with _progress("verifying") as progress:
        result = run(None if alone else _workspace(context), certificate, key=key, replay=replay, progress=progress)
    show(result, as_json)
    raise typer.Exit(0 if result["valid"] else CheckFailedError.exit_code)


@app.command()
def lineage(
    context: typer.Context, artifact: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False
) -> None:
    """Show what an artifact was derived from, and what from it; a data set's name shows all of its artifacts."""
    from workbench.workflows.lineage import show_lineage

    show(show_lineage(_workspace(context), artifact), as_json)


@requests_app.command("list")
def requests_list(context: typer.Context, as_json: Json = False) -> None:
    """List erasure requests by id and status."""
    from workbench.workflows.requests import list_requests

    show(list_requests(_workspace(context)), as_json)


@requests_app.command("approve")
def requests_approve(context: typer.Context, request: str, as_json: Json = False) -> None:
    """Let a request that waits for approval be carried out."""
    from workbench.workflows.requests import approve_request

    show(approve_request(_workspace(context), request), as_json)


@requests_app.command("deny")
def requests_deny(
    context: typer.Context,
    request: str,
    reason: Annotated[str, typer.Option(help="Why, for the requester; it must name nobody.")],
    as_json: Json = False,
) -> None:
    """Refuse a request that was not begun; its quarantine is lifted."""
    from workbench.workflows.requests import deny_request

    show(deny_request(_workspace(context), request, reason), as_json)


@requests_app.command("cancel")
def requests_cancel(context: typer.Context, request: str, as_json: Json = False) -> None:
    """Take a request back that was not begun; its quarantine is lifted."""
    from workbench.workflows.requests import cancel_request

    show(cancel_request(_workspace(context), request), as_json)


@app.command()
def policy(
    context: typer.Context,
    dataset: str,
    config: Annotated[Path, typer.Argument()] = Path("configs/policies/default.yaml"),
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Declare how a data set's erasure requests are handled: approval, due date, suppression."""
    from workbench.workflows.requests import set_policy

    show(set_policy(_workspace(context), dataset, config, overrides or []), as_json)


@app.command()
def resume(context: typer.Context, as_json: Json = False) -> None:
    """Finish interrupted erasures and carry out every request that waits."""
    from workbench.workflows.execute import carry_out_waiting

    with _progress("resuming") as progress:
        done = carry_out_waiting(_workspace(context), progress)
    show({"requests": [{"request": request, **result} for request, result in done.items()]}, as_json)


@jobs_app.command("list")
def jobs_list(context: typer.Context, as_json: Json = False) -> None:
    """List jobs, with who works on them and how far they are."""
    from workbench.workflows.jobs import list_jobs

    show(list_jobs(_workspace(context)), as_json)


@jobs_app.command("cancel")
def jobs_cancel(context: typer.Context, job: str, as_json: Json = False) -> None:
    """Ask a job to stop; what it has begun is taken back."""
    from workbench.workflows.jobs import cancel_job

    show(cancel_job(_workspace(context), job), as_json)


@jobs_app.command("run")
def jobs_run(context: typer.Context, job: str, as_json: Json = False) -> None:
    """Work on a job that waits, or whose worker died."""
    from workbench.workflows.jobs import take_job

    with _progress(job) as progress:
        result = take_job(_workspace(context), job, progress)
    show(result, as_json)


@app.command()
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check that a workspace is sound."""
    from workbench.workflows.doctor import doctor as run

    result = run(_workspace(context))
    show(result, as_json)
    raise typer.Exit(0 if result["healthy"] else CheckFailedError.exit_code)


@app.command()
def demo(
    context: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the workspace to look around in.")] = False,
    as_json: Json = False,
) -> None:
    """Run the whole main job on the bundled Adult table."""
    from workbench.workflows.demo import demo as run

    with _progress("demo") as progress:
        result = run(context.obj, keep=keep, progress=progress)
    if as_json:
        show(result, as_json)
    else:
        _show_demo(result)
    raise typer.Exit(0 if result["passed"] else CheckFailedError.exit_code)


@app.command()
def worker(
    context: typer.Context,
    inbox: Annotated[Path, typer.Option(help="The folder that requests arrive in, as files.")],
    once: Annotated[bool, typer.Option("--once", help="Handle what is there, then end.")] = False,
    interval: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1)] = 5.0,
    as_json: Json = False,
) -> None:
    """Take erasure requests from a folder and carry them out; SIGTERM ends it after the step at hand."""
    import threading

    from workbench.workflows.work import work

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    result = work(_workspace(context), inbox, stop=stop, once=once, interval=interval)
    code = result.pop("exit")
    show(result, as_json)
    raise typer.Exit(code)


@app.command()
def scan(
    context: typer.Context,
    needles: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="TEXT", help="What to look for; - reads one text per line from standard input."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Search every file, log and database page, packed ones too, for texts that should not be there."""
    from workbench.workflows.scan import scan as run

    texts = [text for needle in needles or () for text in (_read_lines() if needle == "-" else [needle])]
    result = run(_workspace(context), texts)
    show(result, as_json)
    raise typer.Exit(0 if result["clean"] else CheckFailedError.exit_code)


@keys_app.command("list")
def keys_list(context: typer.Context, as_json: Json = False) -> None:
    """List the keys that certificates of this workspace are verified with."""
    from workbench.workflows.keys import list_keys

    show(list_keys(_workspace(context)), as_json)


@keys_app.command("rotate")
def keys_rotate(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Only the signing key can be rotated.")] = "signing",
    as_json: Json = False,
) -> None:
    """Sign with a new key from now on; certificates signed before stay valid."""
    from workbench.workflows.keys import rotate_key

    show(rotate_key(_workspace(context), name), as_json)


@app.command()
def certificate(
    context: typer.Context,
    file: Path,
    html: Annotated[Path, typer.Option(help="Where to write the page: a .html file.")],
    key: Annotated[Path | None, typer.Option(help="The signer's PUBLIC.pem; default: the workspace's own.")] = None,
    as_json: Json = False,
) -> None:
    """Write a certificate as a page for people, once its signature is verified."""
    from workbench.workflows.report import report_certificate

    alone = key is not None and not (context.obj / "state.db").exists()
    show(report_certificate(None if alone else _workspace(context), file, html, key=key), as_json)


@app.command()
def backup(context: typer.Context, file: Path, as_json: Json = False) -> None:
    """Write the whole workspace to a .tar.zst or .tar.gz file. It holds the secret keys: keep it as safe as those."""
    from workbench.workflows.backup import backup as run

    with _progress("backing up") as progress:
        result = run(_workspace(context), file, progress=progress)
    show(result, as_json)


@suppressions_app.command("export")
def suppressions_export(context: typer.Context, file: Path, as_json: Json = False) -> None:
    """Write the keyed hashes of erased people to a file, for restoring an older backup without them."""
    from workbench.workflows.restore import export_suppressions

    show(export_suppressions(_workspace(context), file), as_json)


@app.command()
def restore(
    context: typer.Context,
    file: Path,
    suppressions: Annotated[
        Path | None, typer.Option(help="A file of workbench suppressions export, from the workspace of today.")
    ] = None,
    without: Annotated[
        bool, typer.Option("--without-suppressions", help="There is none: people erased since the backup come back.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a new workspace of a backup (--workspace names it); who was erased since is erased before it can be opened."""
    from workbench.workflows.restore import restore as run

    with _progress("restoring") as progress:
        result = run(context.obj, file, suppressions=suppressions, without=without, progress=progress)
    show(result, as_json)


def main() -> None:
    """Runs the command line; every fault becomes one message and a documented exit code."""
    as_json = "--json" in sys.argv
    # `kill` ends like Ctrl-C: what was begun is taken back
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = app(standalone_mode=False) or 0
        if code == _INTERRUPTED:
            code = _report(5, "interrupted", "interrupted", "give the same command again to go on", as_json)
        sys.exit(code)
    except WorkbenchError as fault:
        sys.exit(_report(fault.exit_code, fault.code, str(fault), fault.hint, as_json))
    except BrokenPipeError:
        sys.exit(0)
    except Exception as fault:
        if hasattr(fault, "format_message"):  # the parser's own faults: an unknown option, a missing argument
            sys.exit(_report(2, "usage", fault.format_message(), "workbench COMMAND --help", as_json))
        if os.environ.get("WORKBENCH_DEBUG"):
            raise
        if isinstance(fault, OSError) and fault.strerror:
            where = f"{fault.filename}: " if isinstance(fault.filename, str) else ""
            sys.exit(
                _report(
                    2, "file", f"{where}{fault.strerror}", "look at the path, its permissions and the disk", as_json
                )
            )
        # its message could quote a row, so it is not shown
        hint = "WORKBENCH_DEBUG=1 shows where, and may show values of the table"
        sys.exit(_report(1, "internal", f"unexpected {type(fault).__name__}", hint, as_json))


def show(result: dict[str, Any], as_json: bool) -> None:
    """Prints a result: as one JSON object, or for people."""
    if as_json:
        print(json.dumps(result, ensure_ascii=False, allow_nan=False))
        return
    from workbench.show import show_result

    show_result(result)


def _report(exit_code: int, code: str, message: str, hint: str, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"error": {"code": code, "message": message, "hint": hint}}, ensure_ascii=False))
    print(f"workbench: {message}", file=sys.stderr)
    if hint:
        print(f"  hint: {hint}", file=sys.stderr)
    return exit_code


def _run_job(context: typer.Context, kind: str, config: dict[str, Any], detach: bool, as_json: bool) -> None:
    from workbench.workflows.jobs import detach_job, run_job

    workspace = _workspace(context)
    if detach:
        show(detach_job(workspace, kind, config), as_json)
        return
    with _progress(kind) as progress:
        result = run_job(workspace, kind, config, progress)
    show(result, as_json)


def _workspace(context: typer.Context) -> Workspace:
    from workbench.workspace import Workspace

    return Workspace.open(context.obj)


def _progress(title: str) -> AbstractContextManager[Progress]:
    from workbench.progress import progress_bar

    return progress_bar(title)


def _read_requests(file: str) -> Intake:
    from workbench.erasure.intake import ending_of, parse

    hint = "--file FILE: one key per line, .csv, .jsonl or OpenDSR .json; - reads standard input"
    if file == "-":
        if sys.stdin is None:
            raise InputError("standard input is closed", hint=hint)
        return parse(sys.stdin.buffer.read())
    if not Path(file).is_file():
        raise InputError("the file of keys is not there", hint=hint)
    return parse(Path(file).read_bytes(), ending_of(file))


def _read_lines() -> list[str]:
    try:
        content = sys.stdin.buffer.read() if sys.stdin else b""
        return [line.strip() for line in content.decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise InputError("standard input is not UTF-8 text", hint="convert it, for example with iconv") from None


def _show_demo(result: dict[str, Any]) -> None:
    from workbench.show import show_demo

    show_demo(result)
