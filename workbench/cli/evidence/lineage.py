"""`workbench lineage`."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.terms import Json, opened, show
from workbench.workflows.operations.show_lineage import show_lineage


def lineage(
    context: typer.Context,
    artifact: Annotated[str, typer.Argument(metavar="ID", help="An artifact or a data set.")],
    as_json: Json = False,
) -> None:
    """Show what an artifact was derived from, and what from it; a data set's name shows all of its artifacts."""
    show(show_lineage(opened(context), artifact), as_json)
