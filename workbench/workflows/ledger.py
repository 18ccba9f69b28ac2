"""Setting a population's privacy budget, and showing what it was spent on."""

from __future__ import annotations

from typing import Any

from workbench.data import catalog
from workbench.privacy.events import event_to_json
from workbench.privacy.ledger import LINE, Ledger, spent, spent_pld
from workbench.workspace import Workspace


def set_budget(workspace: Workspace, dataset: str, *, epsilon: float, delta: float) -> dict[str, Any]:
    """Declares the most that the population of a data set may ever spend; raises InputError for senseless numbers."""
    population = _population(workspace, dataset)
    budget = Ledger(workspace.engine).set_budget(population, epsilon=epsilon, delta=delta)
    return {"dataset": dataset, "population": population, "budget": {"epsilon": budget.epsilon, "delta": budget.delta}}


def show_ledger(workspace: Workspace, dataset: str) -> dict[str, Any]:
    """The budget, what is spent (Rényi accounting; and by privacy-loss distributions where they apply) and each charge."""
    population = _population(workspace, dataset)
    ledger = Ledger(workspace.engine)
    budget, entries = ledger.budget(population), ledger.entries(population)
    shown = None
    if budget is not None:
        pld = spent_pld(entries, budget.delta)
        shown = {"epsilon": spent(entries, budget.delta), "delta": budget.delta, "epsilon_pld": pld}
    return {
        "dataset": dataset,
        "population": population,
        "budget": {"epsilon": budget.epsilon, "delta": budget.delta} if budget else None,
        "spent": shown or {"epsilon": 0.0, "delta": 0.0, "epsilon_pld": 0.0},
        "entries": [
            {
                "created": entry.created,
                "dataset": entry.dataset,
                "purpose": entry.purpose,
                "event": event_to_json(entry.event),
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
