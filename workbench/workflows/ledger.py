"""Setting a population's privacy budget, and showing what it was spent on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from workbench.data import catalog
from workbench.errors import InputError
from workbench.privacy.events import event_to_json
from workbench.privacy.hash_lines import LINE
from workbench.privacy.holds import held_note, holding, stated
from workbench.privacy.ledger import ROUNDING, Ledger, price, spent_along, spent_at, spent_by_type, spent_pld
from workbench.roles import require
from workbench.schema.schema import POPULATION
from workbench.workspace import Workspace

MAX_NEW = 48  # leaves room for the identity type that an inferred schema is given


def set_budget(workspace: Workspace, dataset: str, *, epsilon: float, delta: float) -> dict[str, Any]:
    """Declares the most that the population of a data set may ever spend; raises InputError for senseless numbers."""
    require("administer")
    population = _population(workspace, dataset)
    budget = Ledger(workspace.engine).set_budget(population, epsilon=epsilon, delta=delta)
    return {"dataset": dataset, "population": population, "budget": {"epsilon": budget.epsilon, "delta": budget.delta}}


def set_population_budget(workspace: Workspace, population: str, *, epsilon: float, delta: float) -> dict[str, Any]:
    """The same for a population that no data set is of yet; raises InputError for a name that no schema could have."""
    require("administer")
    if not re.fullmatch(POPULATION, population) or len(population) > MAX_NEW:
        raise InputError(
            f"a population is named by 1 to {MAX_NEW} letters, digits, dots, hyphens and underscores",
            hint="--population people-of-x",
        )
    budget = Ledger(workspace.engine).set_budget(population, epsilon=epsilon, delta=delta)
    return {"population": population, "budget": {"epsilon": budget.epsilon, "delta": budget.delta}}


def show_ledger(workspace: Workspace, dataset: str) -> dict[str, Any]:
    """The budget, what is spent (Rényi accounting; and by privacy-loss distributions where they apply) and each charge.

    `along` is the spend of each stretch of the hash lines, of which `spent` is the highest; `along_by_type` is the same for the
    line of each identity type. `over_by` is how much is spent beyond the budget.
    """
    return {"dataset": dataset} | show_population_ledger(workspace, _population(workspace, dataset))


def show_population_ledger(workspace: Workspace, population: str) -> dict[str, Any]:
    """The same for a population, whether or not a data set is of it."""
    ledger = Ledger(workspace.engine)
    budget, entries = ledger.budget(population), ledger.entries(population)
    with workspace.engine.connect() as connection:
        held, statements = holding(connection, population), stated(connection, population)
    shown: dict[str, float | None] = {"epsilon": 0.0, "delta": 0.0, "epsilon_pld": 0.0, "epsilon_filter": 0.0}
    along: list[list[float]] = []
    by_type: dict[str, list[list[float]]] = {}
    over_by = 0.0
    if budget is not None:
        along = _on_unit(spent_along(entries, budget.delta))
        by_type = {kind: _on_unit(line) for kind, line in spent_by_type(entries, budget.delta).items()}
        most = max((cost for _, _, cost in along), default=0.0)
        pld, at_order = spent_pld(entries, budget.delta), spent_at(entries, budget)
        shown = {"epsilon": most, "delta": budget.delta, "epsilon_pld": pld, "epsilon_filter": at_order}
        over_by = most - budget.epsilon if most > budget.epsilon * (1 + ROUNDING) else 0.0
    return {
        "population": population,
        "budget": {"epsilon": budget.epsilon, "delta": budget.delta} if budget else None,
        "along": along,
        "held": held_note(held),
        "statements": [one.__dict__ | {"sentence": one.sentence} for one in statements],
        "along_by_type": by_type,
        "spent": shown,
        "over_by": over_by,
        "entries": [
            {
                "created": entry.created,
                "dataset": entry.dataset,
                "purpose": entry.purpose,
                "event": event_to_json(entry.event),
                "epsilon": price(entry.event, budget.delta) if budget else None,
                "scope": [[low / LINE, high / LINE] for low, high in entry.scope],
                "identity_type": entry.identity_type,
                "adjacency": entry.adjacency,
                "actor": entry.actor,
                "uid": entry.uid,
            }
            for entry in entries
        ],
    }


def _on_unit(stretches: Sequence[tuple[int, int, float]]) -> list[list[float]]:
    return [[low / LINE, high / LINE, cost] for low, high, cost in stretches]


def _population(workspace: Workspace, dataset: str) -> str:
    with workspace.engine.connect() as connection:
        return catalog.entry(connection, dataset).schema.population
