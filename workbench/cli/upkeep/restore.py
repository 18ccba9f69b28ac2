"""`workbench restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Json, progress_of, show
from workbench.workflows.operations.restore import restore as run


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A backup.")],
    suppressions: Annotated[
        Path | None, typer.Option(help="A file of workbench suppressions export, from the workspace of today.")
    ] = None,
    without: Annotated[
        bool, typer.Option("--without-suppressions", help="There is none: people erased since the backup come back.")
    ] = False,
    live: Annotated[
        Path | None,
        typer.Option(help="The workspace that is in use: its erased people and its charges are taken over."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a new workspace of a backup (--workspace names it), without the people erased since; no budget comes back."""
    with progress_of("restoring") as progress:
        result = run(context.obj, file, suppressions=suppressions, without=without, live=live, progress=progress)
    show(result, as_json)
