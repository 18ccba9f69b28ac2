"""`workbench schema infer`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Json, opened, progress_of, show
from workbench.errors import InputError
from workbench.workflows.datasets.propose_schema import propose_schema, propose_schema_privately
from workbench.workflows.datasets.results import SchemaDraft


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
