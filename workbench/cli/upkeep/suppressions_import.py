"""`workbench suppressions import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Json, opened, progress_of, show
from workbench.workflows.erasure.suppressions import import_suppressions


def suppressions_import(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file of workbench suppressions export.")],
    as_json: Json = False,
) -> None:
    """Take in a list of another copy of this workspace: its charges count here, its erased people are erased here."""
    with progress_of("erasing") as progress:
        result = import_suppressions(opened(context), file, progress=progress)
    show(result, as_json)
