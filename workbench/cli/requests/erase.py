"""`workbench erase`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Detach, Json, opened, progress_of, show
from workbench.erasure.intake import MAX_BYTES, Intake, ending_of, parse
from workbench.errors import InputError
from workbench.foreign import read_limited, read_stream
from workbench.workflows.erasure.erase import erase as run
from workbench.workflows.erasure.erase import erase_detached
from workbench.workflows.erasure.results import DetachedErasure, ErasureResult


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


def _read_requests(file: str) -> Intake:
    hint = "--file FILE: one key per line, .csv, .jsonl or OpenDSR .json; - reads standard input"
    if file == "-":
        if sys.stdin is None:
            raise InputError("standard input is closed", hint=hint)
        return parse(read_stream(sys.stdin.buffer, most=MAX_BYTES, what="standard input", hint="split it"))
    if not Path(file).is_file():
        raise InputError("the file of keys is not there", hint=hint)
    return parse(read_limited(Path(file), most=MAX_BYTES, what="the file of keys", hint="split it"), ending_of(file))
