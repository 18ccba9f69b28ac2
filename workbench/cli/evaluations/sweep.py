"""`workbench sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.long_work import opened_to_write
from workbench.cli.terms import Json, Set, opened, progress_of, show
from workbench.workflows.evaluation.sweep import configs_of, plan_sweep
from workbench.workflows.evaluation.sweep import sweep as run


def sweep(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="The config of a generator.")],
    over: Annotated[
        list[str], typer.Option(metavar="FIELD=A,B", help="The values to try; of several fields, every combination.")
    ],
    overrides: Set = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what all of it would cost; nothing is read.")] = False,
    out: Annotated[Path | None, typer.Option(help="A .html file for the comparison.")] = None,
    as_json: Json = False,
) -> None:
    """Fit, release and evaluate a generator under several settings, once the budget for all of them is there."""
    configs = configs_of(config, over, overrides or ())
    if plan:
        show(plan_sweep(opened(context), configs), as_json)
        return
    with progress_of("sweep") as progress:
        result = run(opened_to_write(context), configs, out=out, progress=progress)
    show(result, as_json)
