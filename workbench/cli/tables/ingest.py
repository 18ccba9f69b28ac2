"""`workbench ingest`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.long_work import run_job
from workbench.cli.terms import Detach, Json
from workbench.errors import InputError


def ingest(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the data set is to be called, or one from the box.")],
    schema: Annotated[Path | None, typer.Option(help="The schema file; not for bundled data sets.")] = None,
    data: Annotated[Path | None, typer.Option(help="The table: .csv, .csv.gz or .parquet.")] = None,
    append: Annotated[bool, typer.Option("--append", help="Add the rows to a data set that is there.")] = False,
    same_people: Annotated[
        bool,
        typer.Option("--same-people", help="They are people whom the workspace knows: one budget for both tables."),
    ] = False,
    reason: Annotated[str | None, typer.Option(help="With --same-people: how that is known; it is kept.")] = None,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Take in a table: adult, oulad or german from the box, or one of your own; or add rows to one."""
    if append and (schema is not None or data is None):
        raise InputError("--append takes --data, and no --schema: a data set keeps the one it has")
    if same_people != (reason is not None):
        raise InputError("--same-people and --reason go together: what is confirmed is kept with its reason")
    paths = {"schema": schema and str(schema.absolute()), "data": data and str(data.absolute())}
    run_job(context, "ingest", {"name": name, **paths, "append": append, "same_people": reason}, detach, as_json)
