"""`workbench forgetting`."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.long_work import opened_to_write
from workbench.cli.terms import Json, progress_of, show
from workbench.errors import CheckFailedError
from workbench.workflows.evaluation.forgetting_audit import forgetting as run


def forgetting(
    context: typer.Context,
    ensemble: Annotated[str, typer.Argument(help="A trained ensemble.")],
    subjects: Annotated[int, typer.Option(help="How many living subjects are erased on trial.")] = 100,
    canaries: Annotated[int, typer.Option(help="How many artificial subjects are learnt and erased on trial.")] = 50,
    controls: Annotated[int, typer.Option(help="How many of each are also erased by training from scratch.")] = 20,
    seed: Annotated[int, typer.Option(help="Equal seeds draw equal subjects and canaries.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Erase subjects on trial, in memory alone, and attack what is left: can they still be told? Internal, never stored."""
    with progress_of("forgetting") as progress:
        result = run(
            opened_to_write(context),
            ensemble,
            subjects=subjects,
            canaries=canaries,
            controls=controls,
            seed=seed,
            progress=progress,
        )
    show(result, as_json)
    raise typer.Exit(CheckFailedError.exit_code if result.finding == "not forgotten" else 0)
