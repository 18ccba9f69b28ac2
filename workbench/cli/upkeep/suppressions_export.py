"""`workbench suppressions export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Json, opened, show
from workbench.workflows.erasure.suppressions import export_suppressions


def suppressions_export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A new .json file.")],
    as_json: Json = False,
) -> None:
    """Write keyed hashes of erased people and every charge to a signed file, for restoring an older backup."""
    show(export_suppressions(opened(context), file), as_json)
