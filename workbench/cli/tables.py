"""Tables: workspaces, schemas, ingest, budgets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.terms import Detach, Json, opened, progress_of, run_job, show
from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.workflows.datasets.results import SchemaDraft

app = typer.Typer()
schema_app = typer.Typer(help="Schemas: the public description of a table.", no_args_is_help=True)
ledger_app = typer.Typer(help="Privacy budgets and what was spent.", no_args_is_help=True)
app.add_typer(schema_app, name="schema")
app.add_typer(ledger_app, name="ledger")


@app.command()
def init(context: typer.Context, as_json: Json = False) -> None:
    """Make a workspace: folders, keys, database and tracking store. What is there stays."""
    from workbench.workflows.operations.initialise import initialise

    workspace = initialise(context.obj)
    key = workspace.root / "keys" / "signing.pub.pem"
    show({"workspace": str(workspace.root), "public_key": str(key)}, as_json)


@schema_app.command("infer")
def schema_infer(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The table: .csv, .csv.gz or .parquet.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where to write the proposal.")],
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    subject: Annotated[
        str | None, typer.Option(help="The column that identifies a person; default: each row is one.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Under differential privacy, charged before its rows are read.")
    ] = False,
    population: Annotated[str | None, typer.Option(help="With --private: whose budget is charged.")] = None,
    epsilon: Annotated[float | None, typer.Option(help="With --private: the price.")] = None,
    delta: Annotated[float | None, typer.Option(help="With --private: the price.")] = None,
    max_rows: Annotated[int | None, typer.Option(help="With --private: rows of a person that count.")] = None,
    as_json: Json = False,
) -> None:
    """Propose a schema for a table, for a person to review. It reads the data."""
    from workbench.workflows.datasets.propose_schema import propose_schema, propose_schema_privately

    result: SchemaDraft
    if not private:
        if any(option is not None for option in (population, epsilon, delta, max_rows)):
            raise InputError("--population, --epsilon, --delta and --max-rows are for --private", hint="add --private")
        with progress_of("reading") as progress:
            result = propose_schema(file, out, target=target, subject=subject, progress=progress)
    else:
        if population is None or epsilon is None or delta is None:
            raise InputError("--private needs --population, --epsilon and --delta")
        with progress_of("reading") as progress:
            result = propose_schema_privately(
                opened(context),
                file,
                out,
                population=population,
                epsilon=epsilon,
                delta=delta,
                target=target,
                subject=subject,
                max_rows_per_subject=1 if max_rows is None else max_rows,
                progress=progress,
            )
    show(result, as_json)


@app.command()
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


Population = Annotated[str | None, typer.Option(help="A population by its name, in place of a data set.")]


@ledger_app.command("budget")
def ledger_budget(
    context: typer.Context,
    epsilon: Annotated[float, typer.Option(help="The most that may ever be spent.")],
    delta: Annotated[float, typer.Option(help="Well under one over the number of subjects.")],
    dataset: Annotated[str | None, typer.Argument(help="A data set.")] = None,
    population: Population = None,
    ceiling: Annotated[
        float | None, typer.Option(help="The most that epsilon may become later; declared before the first charge.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Why epsilon is raised after the first charge; shown on cards. Name no person.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Set the privacy budget of a data set's population."""
    from workbench.workflows.datasets.budget import set_budget, set_population_budget

    if dataset is not None and population is None:
        result = set_budget(opened(context), dataset, epsilon=epsilon, delta=delta, ceiling=ceiling, reason=reason)
    elif population is not None and dataset is None:
        result = set_population_budget(
            opened(context), population, epsilon=epsilon, delta=delta, ceiling=ceiling, reason=reason
        )
    else:
        raise InputError("a budget is of a data set or of a --population, one of them")
    show(result, as_json)


@ledger_app.command("vouch")
def ledger_vouch(
    context: typer.Context,
    reason: Annotated[str, typer.Option(help="How that is known; shown beside the budget and on cards.")],
    population: Annotated[str | None, typer.Argument(help="A population; default: all.")] = None,
    as_json: Json = False,
) -> None:
    """State that nothing was charged since the backup or list that a workspace was restored from."""
    from workbench.workflows.erasure.suppressions import vouch

    show(vouch(opened(context), population, reason), as_json)


@ledger_app.command("show")
def ledger_show(
    context: typer.Context,
    dataset: Annotated[str | None, typer.Argument(help="A data set.")] = None,
    population: Population = None,
    as_json: Json = False,
) -> None:
    """Show the budget of a data set's population and every charge."""
    from workbench.workflows.datasets.budget import show_ledger, show_population_ledger

    if dataset is not None and population is None:
        result = show_ledger(opened(context), dataset)
    elif population is not None and dataset is None:
        result = show_population_ledger(opened(context), population)
    else:
        raise InputError("a ledger is of a data set or of a --population, one of them")
    show(result, as_json)
