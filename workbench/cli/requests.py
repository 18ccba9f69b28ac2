"""Erasure requests: who is to be forgotten, and what became of it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.terms import Detach, Json, Set, opened, progress_of, show
from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.erasure.intake import Intake
    from workbench.workflows.erasure.results import DetachedErasure, ErasureResult

app = typer.Typer()
requests_app = typer.Typer(help="Erasure requests.", no_args_is_help=True)
app.add_typer(requests_app, name="requests")

Request = Annotated[str, typer.Argument(help="A request, as requests list tells it.")]


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
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Erase people: retrain what they touched, purge, verify, certify. Keys in a file stay out of the process list."""
    from workbench.workflows.erasure.erase import erase as run
    from workbench.workflows.erasure.erase import erase_detached

    if detach and dry_run:
        raise InputError("--dry-run only shows what would be done, so there is nothing to --detach", hint="give one")
    intake = _read_requests(file) if file else None
    everyone = [*(keys or ()), *(intake.asked if intake else ())]
    malformed = intake.malformed if intake else ()
    result: DetachedErasure | ErasureResult
    if detach:
        result = erase_detached(opened(context), everyone, dataset=dataset, malformed=malformed)
    else:
        with progress_of("erasing") as progress:
            result = run(
                opened(context), everyone, dataset=dataset, malformed=malformed, dry_run=dry_run, progress=progress
            )
    show(result, as_json)
    raise typer.Exit(max((answer.exit for answer in result.requests), default=0))


@requests_app.command("list")
def requests_list(context: typer.Context, as_json: Json = False) -> None:
    """List erasure requests by id and status."""
    from workbench.workflows.erasure.decide import list_requests

    show(list_requests(opened(context)), as_json)


@requests_app.command("show")
def requests_show(context: typer.Context, request: Request, as_json: Json = False) -> None:
    """Show one request: its history, the shards it touches, and the hits of the byte scan that hold it."""
    from workbench.workflows.erasure.decide import show_request

    show(show_request(opened(context), request), as_json)


@requests_app.command("approve")
def requests_approve(context: typer.Context, request: Request, as_json: Json = False) -> None:
    """Let a request that waits for approval be carried out."""
    from workbench.workflows.erasure.decide import approve_request

    show(approve_request(opened(context), request), as_json)


@requests_app.command("release")
def requests_release(context: typer.Context, request: Request, as_json: Json = False) -> None:
    """Let a request be carried out before its window ends."""
    from workbench.workflows.erasure.decide import release_request

    show(release_request(opened(context), request), as_json)


@requests_app.command("accept-hit")
def requests_accept_hit(
    context: typer.Context,
    request: Request,
    file: Annotated[str, typer.Option(help="The file, as the failed byte scan names it.")],
    reason: Annotated[str, typer.Option(help="Why it says nothing of the person; it stands on the certificate.")],
    offset: Annotated[
        int | None,
        typer.Option(help="The byte, as requests show names it; none for a file that can't be searched.", min=0),
    ] = None,
    mark: Annotated[str, typer.Option(help="The hit's mark, where several have this offset.")] = "",
    as_json: Json = False,
) -> None:
    """Answer for a hit of the byte scan that keeps a request open; resume then scans again."""
    from workbench.workflows.erasure.accept_hit import accept_hit

    show(accept_hit(opened(context), request, file=file, offset=offset, reason=reason, mark=mark), as_json)


@requests_app.command("deny")
def requests_deny(
    context: typer.Context,
    request: Request,
    reason: Annotated[str, typer.Option(help="Why, for the requester; it must name nobody.")],
    as_json: Json = False,
) -> None:
    """Refuse a request that was not begun; its quarantine is lifted."""
    from workbench.workflows.erasure.decide import deny_request

    show(deny_request(opened(context), request, reason), as_json)


@requests_app.command("cancel")
def requests_cancel(context: typer.Context, request: Request, as_json: Json = False) -> None:
    """Take a request back that was not begun; its quarantine is lifted."""
    from workbench.workflows.erasure.decide import cancel_request

    show(cancel_request(opened(context), request), as_json)


@app.command()
def policy(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(help="A data set.")],
    config: Annotated[Path, typer.Argument(help="The policy's file.")] = Path("configs/policies/default.yaml"),
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Declare how a data set's erasure requests are handled: approval, due date, suppression, limits."""
    from workbench.workflows.erasure.decide import set_policy

    show(set_policy(opened(context), dataset, config, overrides or []), as_json)


@app.command()
def resume(context: typer.Context, as_json: Json = False) -> None:
    """Finish interrupted erasures and carry out every request that waits; tell those who asked over HTTP."""
    from workbench.workflows.controllers.callbacks import tell_waiting
    from workbench.workflows.controllers.inbox_worker import log
    from workbench.workflows.erasure.run_waiting import erase_waiting

    workspace = opened(context)
    with progress_of("resuming") as progress:
        outcome = erase_waiting(workspace, progress, held="all")
    tell_waiting(workspace, log=log)
    if outcome.failures and not outcome.done:
        outcome.results()
    shown = [result.to_json() for result in outcome.done.values()]
    failed = [
        {"datasets": sorted(f.datasets), "requests": sorted(f.requests), "reason": str(f.fault)}
        for f in outcome.failures
    ]
    show({"requests": shown, **({"failed": failed} if failed else {})}, as_json)
    raise typer.Exit(outcome.exit_code)


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

    from workbench.workflows.controllers.inbox_worker import work

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    result = work(opened(context), inbox, stop=stop, once=once, interval=interval)
    show(result, as_json)
    raise typer.Exit(result.exit)


def _read_requests(file: str) -> Intake:
    from workbench.erasure.intake import MAX_BYTES, ending_of, parse
    from workbench.foreign import read_limited, read_stream

    hint = "--file FILE: one key per line, .csv, .jsonl or OpenDSR .json; - reads standard input"
    if file == "-":
        if sys.stdin is None:
            raise InputError("standard input is closed", hint=hint)
        return parse(read_stream(sys.stdin.buffer, most=MAX_BYTES, what="standard input", hint="split it"))
    if not Path(file).is_file():
        raise InputError("the file of keys is not there", hint=hint)
    return parse(read_limited(Path(file), most=MAX_BYTES, what="the file of keys", hint="split it"), ending_of(file))
