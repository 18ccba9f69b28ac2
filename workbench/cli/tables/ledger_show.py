"""`workbench ledger show`."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.terms import Json, Population, opened, show
from workbench.errors import InputError
from workbench.workflows.datasets.budget import show_ledger, show_population_ledger


def ledger_show(
    context: typer.Context,
    dataset: Annotated[str | None, typer.Argument(help="A data set.")] = None,
    population: Population = None,
    as_json: Json = False,
) -> None:
    """Show the budget of a data set's population and every charge."""
    if dataset is not None and population is None:
        result = show_ledger(opened(context), dataset)
    elif population is not None and dataset is None:
        result = show_population_ledger(opened(context), population)
    else:
        raise InputError("a ledger is of a data set or of a --population, one of them")
    show(result, as_json)
