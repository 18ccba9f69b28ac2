"""Tables: workspaces, schemas, ingest, budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Detach, Json, opened, progress_of, run_job, show
from workbench.errors import InputError

app = typer.Typer()
schema_app = typer.Typer(help="Schemas: the public description of a table.", no_args_is_help=True)
ledger_app = typer.Typer(help="Privacy budgets and what was spent.", no_args_is_help=True)
app.add_typer(schema_app, name="schema")
app.add_typer(ledger_app, name="ledger")


@app.command()
def init(context: typer.Context, as_json: Json = False) -> None:
    """Make a workspace: folders, keys, database and tracking store."""
    from workbench.workflows.initialise import initialise

    workspace = initialise(context.obj)
    key = workspace.root / "keys" / "signing.pub.pem"
    show({"workspace": str(workspace.root), "public_key": str(key)}, as_json)


@schema_app.command("infer")
def schema_infer(
    file: Path,
    out: Annotated[Path, typer.Option("-o", "--out", help="Where to write the proposal.")],
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    subject: Annotated[
        str | None, typer.Option(help="The column that identifies a person; default: each row is one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Propose a schema for a table, for a person to review. It reads the data."""
    from workbench.workflows.propose import propose_schema

    with progress_of("reading") as progress:
        result = propose_schema(file, out, target=target, subject=subject, progress=progress)
    show(result, as_json)


@app.command()
def ingest(
    context: typer.Context,
    name: str,
    schema: Annotated[Path | None, typer.Option(help="The schema file; not for bundled data sets.")] = None,
    data: Annotated[Path | None, typer.Option(help="The table: .csv, .csv.gz or .parquet.")] = None,
    append: Annotated[bool, typer.Option("--append", help="Add the rows to a data set that is there.")] = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Take in a table: adult, oulad or german from the box, or one of your own; or add rows to one."""
    if append and (schema is not None or data is None):
        raise InputError("--append takes --data, and no --schema: a data set keeps the one it has")
    paths = {"schema": schema and str(schema.absolute()), "data": data and str(data.absolute())}
    run_job(context, "ingest", {"name": name, **paths, "append": append}, detach, as_json)


@ledger_app.command("budget")
def ledger_budget(
    context: typer.Context,
    dataset: str,
    epsilon: Annotated[float, typer.Option(help="The most that may ever be spent.")],
    delta: Annotated[float, typer.Option(help="Well under one over the number of subjects.")],
    as_json: Json = False,
) -> None:
    """Set the privacy budget of a data set's population."""
    from workbench.workflows.ledger import set_budget

    show(set_budget(opened(context), dataset, epsilon=epsilon, delta=delta), as_json)


@ledger_app.command("show")
def ledger_show(context: typer.Context, dataset: str, as_json: Json = False) -> None:
    """Show the budget of a data set's population and every charge."""
    from workbench.workflows.ledger import show_ledger

    show(show_ledger(opened(context), dataset), as_json)
