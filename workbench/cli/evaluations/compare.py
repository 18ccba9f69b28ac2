"""`workbench compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Json, opened, show
from workbench.workflows.evaluation.report import compare as run


def compare(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="ID...", help="What was evaluated.")],
    out: Annotated[Path | None, typer.Option(help="A .html file.")] = None,
    as_json: Json = False,
) -> None:
    """Compare evaluations figure by figure."""
    show(run(opened(context), names, out), as_json)
