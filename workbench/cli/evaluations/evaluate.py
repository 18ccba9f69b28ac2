"""`workbench evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.long_work import opened_to_write
from workbench.cli.render import show_evaluation
from workbench.cli.terms import Json, Of, Where, progress_of, show
from workbench.workflows.evaluation.evaluate import evaluate as run
from workbench.workflows.evaluation.subject import Settings


def evaluate(
    context: typer.Context,
    name: Of,
    dataset: Where = None,
    rows: Annotated[int, typer.Option(help="At most about so many rows of each table are looked at.", min=1)] = 50_000,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal figures.", min=0)] = 0,
    shadow: Annotated[
        bool,
        typer.Option("--shadow", help="Also attack by fitting the generator four times, charged if it is private."),
    ] = False,
    rules: Annotated[
        Path | None, typer.Option(help="Thresholds of the verdicts; default: configs/verdicts.yaml.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure how good and how private a thing is: fidelity, utility, attacks, cost, and what it is fit for. Internal."""
    settings = Settings(seed=seed, rows=rows, shadow=shadow)
    with progress_of("evaluating") as progress:
        found = run(opened_to_write(context), name, dataset=dataset, settings=settings, rules=rules, progress=progress)
    if as_json:
        show(found.to_json(), as_json)
        return

    show_evaluation(found.to_json())
