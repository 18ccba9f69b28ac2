"""Setting a population's privacy budget, and showing what it was spent on."""

from __future__ import annotations

import re
from typing import Any

from workbench.data import catalog
from workbench.errors import InputError
from workbench.privacy.events import event_to_json
from workbench.privacy.ledger import LINE, Ledger, price, spent_along, spent_pld
from workbench.roles import allowed, open_to_all
from workbench.schema.schema import POPULATION
from workbench.workspace import Workspace

MAX_NEW = 48  # leaves room for the identity type that an inferred schema is given


@allowed("administer")
def set_budget(workspace: Workspace, dataset: str, *, epsilon: float, delta: float) -> dict[str, Any]:
    """Declares the most that the population of a data set may ever spend; raises InputError for senseless numbers."""
    population = _population(workspace, dataset)
    budget = Ledger(workspace.engine).set_budget(population, epsilon=epsilon, delta=delta)
    return {"dataset": dataset, "population": population, "budget": {"epsilon": budget.epsilon, "delta": budget.delta}}


@allowed("administer")
def set_population_budget(workspace: Workspace, population: str, *, epsilon: float, delta: float) -> dict[str, Any]:
    """The same for a population that no data set is of yet; raises InputError for a name that no schema could have."""
    if not re.fullmatch(POPULATION, population) or len(population) > MAX_NEW:
        raise InputError(
            f"a population is named by 1 to {MAX_NEW} letters, digits, dots, hyphens and underscores",
            hint="--population people-of-x",
        )
    budget = Ledger(workspace.engine).set_budget(population, epsilon=epsilon, delta=delta)
    return {"population": population, "budget": {"epsilon": budget.epsilon, "delta": budget.delta}}


@open_to_all
def show_ledger(workspace: Workspace, dataset: str) -> dict[str, Any]:
    """The budget, what is spent (Rényi accounting; and by privacy-loss distributions where they apply) and each charge.

    `along` is the spend of each stretch of the hash line, of which `spent` is the highest.
    """
    return {"dataset": dataset} | show_population_ledger(workspace, _population(workspace, dataset))


@open_to_all
def show_population_ledger(workspace: Workspace, population: str) -> dict[str, Any]:
    """The same for a population, whether or not a data set is of it."""
    ledger = Ledger(workspace.engine)
    budget, entries = ledger.budget(population), ledger.entries(population)
    shown, along = None, []
    if budget is not None:
        along = [[low / LINE, high / LINE, cost] for low, high, cost in spent_along(entries, budget.delta)]
        pld = spent_pld(entries, budget.delta)
        shown = {"epsilon": max((cost for _, _, cost in along), default=0.0), "delta": budget.delta, "epsilon_pld": pld}
    return {
        "population": population,
        "budget": {"epsilon": budget.epsilon, "delta": budget.delta} if budget else None,
        "along": along,
        "spent": shown or {"epsilon": 0.0, "delta": 0.0, "epsilon_pld": 0.0},
        "entries": [
            {
                "created": entry.created,
                "dataset": entry.dataset,
                "purpose": entry.purpose,
                "event": event_to_json(entry.event),
                "epsilon": price(entry.event, budget.delta) if budget else None,
                "scope": [[low / LINE, high / LINE] for low, high in entry.scope],
                "adjacency": entry.adjacency,
                "actor": entry.actor,
            }
            for entry in entries
        ],
    }


def _population(workspace: Workspace, dataset: str) -> str:
    with workspace.engine.connect() as connection:
        return catalog.entry(connection, dataset).schema.population
