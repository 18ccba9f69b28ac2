"""`workbench predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Json, opened, show
from workbench.workflows.training.predict import predict as run


def predict(
    context: typer.Context,
    ensemble: Annotated[str, typer.Argument(help="A trained ensemble.")],
    data: Annotated[Path, typer.Option(help="A table with the feature columns.")],
    out: Annotated[Path, typer.Option(help="A .parquet file.")],
    as_json: Json = False,
) -> None:
    """Predict with an ensemble's current version; shards under quarantine don't answer."""
    show(run(opened(context), ensemble, data, out), as_json)
