"""`workbench report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Json, Of, Where, opened, show
from workbench.workflows.evaluation.report import report_evaluation


def report(
    context: typer.Context,
    name: Of,
    out: Annotated[Path, typer.Option(help="A .html file.")],
    dataset: Where = None,
    as_json: Json = False,
) -> None:
    """Write an evaluation as one page that needs no network."""
    show(report_evaluation(opened(context), name, out, dataset=dataset), as_json)
