"""`workbench sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Json, opened, progress_of, show
from workbench.workflows.synthesis.sample import sample as run


def sample(
    context: typer.Context,
    generator: Annotated[str, typer.Argument(help="A fitted generator.")],
    n: Annotated[int, typer.Option("-n", help="How many rows.")],
    out: Annotated[Path, typer.Option(help="A .parquet or .csv file.")],
    seed: Annotated[int | None, typer.Option(help="Equal seeds give equal rows.", min=0)] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=VALUES", help="Only such rows: sex=Female, age=30..39, a=x|y.")
    ] = None,
    recipient: Annotated[
        str | None, typer.Option(help="Who gets the file; an erasure names it as one to notify. Nobody in the data.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw rows from a fitted generator; this costs no budget."""
    with progress_of("sampling") as progress:
        result = run(
            opened(context), generator, n, out, seed=seed, where=where or (), recipient=recipient, progress=progress
        )
    show(result, as_json)
