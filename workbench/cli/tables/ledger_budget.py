"""`workbench ledger budget`."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.terms import Json, Population, opened, show
from workbench.errors import InputError
from workbench.workflows.datasets.budget import set_budget, set_population_budget


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
    if dataset is not None and population is None:
        result = set_budget(opened(context), dataset, epsilon=epsilon, delta=delta, ceiling=ceiling, reason=reason)
    elif population is not None and dataset is None:
        result = set_population_budget(
            opened(context), population, epsilon=epsilon, delta=delta, ceiling=ceiling, reason=reason
        )
    else:
        raise InputError("a budget is of a data set or of a --population, one of them")
    show(result, as_json)
