"""Setting a population's privacy budget, and showing what it was spent on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, replace

from sqlalchemy import Connection

from workbench.data import catalog
from workbench.erasure.free_text import refuse_names
from workbench.errors import InputError
from workbench.privacy.events import event_to_json
from workbench.privacy.hash_lines import LINE
from workbench.privacy.holds import held_note, holding, stated
from workbench.privacy.ledger import (
    ROUNDING,
    Budget,
    Ledger,
    LedgerEntry,
    price,
    spent_along,
    spent_at,
    spent_by_type,
    spent_pld,
)
from workbench.privacy.raises import MOST_DELTA, MOST_EPSILON
from workbench.schema.schema import POPULATION
from workbench.state import lineage
from workbench.state.roles import allowed, open_to_all
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.results import (
    BudgetResult,
    ChargeResult,
    EpsilonDelta,
    HeldResult,
    LedgerResult,
    RaiseResult,
    Spent,
    StatementResult,
    Stretch,
)
from workbench.workflows.datasets.same_people import refuse_other_case


@allowed("administer")
def set_budget(
    workspace: Workspace,
    dataset: str,
    *,
    epsilon: float,
    delta: float,
    ceiling: float | None = None,
    reason: str | None = None,
) -> BudgetResult:
    """Declare the most that the population of a data set may ever spend; raise InputError for senseless numbers.

    Once something was charged delta stays, and a larger epsilon needs a reason, which names no person. `ceiling` is declared
    before: raises up to it keep the promise.
    """
    population = _population(workspace, dataset)
    return replace(_set_budget(workspace, population, epsilon, delta, ceiling, reason), dataset=dataset)


@allowed("administer")
def set_population_budget(
    workspace: Workspace,
    population: str,
    *,
    epsilon: float,
    delta: float,
    ceiling: float | None = None,
    reason: str | None = None,
) -> BudgetResult:
    """The same for a population that no data set is of yet.

    Raises InputError for a name that no schema could have, that names a person, or that is known in another case.
    """
    if not re.fullmatch(POPULATION, population):
        raise InputError(
            "a population is named by 1 to 64 letters, digits, dots, hyphens and underscores",
            hint="--population people-of-x",
        )
    with workspace.engine.connect() as connection:
        refuse_other_case(connection, population)
    refuse_names(workspace, population, "the name of a population")
    return _set_budget(workspace, population, epsilon, delta, ceiling, reason)


def _set_budget(
    workspace: Workspace, population: str, epsilon: float, delta: float, ceiling: float | None, reason: str | None
) -> BudgetResult:
    if reason:
        refuse_names(workspace, reason, "the reason")
    ledger = Ledger(workspace.engine)
    budget = ledger.set_budget(population, epsilon=epsilon, delta=delta, ceiling=ceiling, reason=reason)
    return BudgetResult(
        population=population,
        budget=EpsilonDelta(epsilon=budget.epsilon, delta=budget.delta),
        ceiling=budget.ceiling,
        raises=_raises(ledger, population),
        warnings=_warnings(workspace, budget),
    )


def _raises(ledger: Ledger, population: str) -> tuple[RaiseResult, ...]:
    return tuple(RaiseResult(**asdict(one), kept=one.kept, sentence=one.sentence) for one in ledger.raises(population))


def _warnings(workspace: Workspace, budget: Budget) -> tuple[str, ...]:
    """What is doubtful about a budget."""
    if budget.void:
        return (f"{budget.void}. Set one with an epsilon of at most {MOST_EPSILON} and a delta under {MOST_DELTA}",)
    with workspace.engine.connect() as connection:
        known = _people(connection, budget.population)
    if known is None or budget.delta <= 1 / known[0]:
        return ()
    people, source = known
    warning = (
        f"delta {budget.delta:g} is above one over the number of people ({people:,.0f}, {source}): to publish the whole record "
        f"of a few people would be within it. Choose a delta well under {1 / people:.1g}"
    )
    return (warning,)


def _people(connection: Connection, population: str) -> tuple[float, str] | None:
    """About how many people a population has, as far as that is public, and how it is known; never the true count.

    A schema declares it; else a private fit of all rows released a noisy count, of which a person has no more than a part.
    """
    known = [catalog.entry(connection, name) for name in catalog.names(connection)]
    entries = [one for one in known if one.schema.population == population]
    declared = [
        (float(one.schema.people), f"as the schema of {one.name} declares") for one in entries if one.schema.people
    ]
    counted = [
        (artifact.body["rows"] / one.schema.max_rows_per_subject, f"at least, by the noisy count of {artifact.id}")
        for one in entries
        for artifact in lineage.find(connection, dataset=one.name, kind="generator")
        if artifact.body["private"] and artifact.body["config"].get("rows") is None
    ]
    return max(declared or counted, default=None)


@open_to_all
def show_ledger(workspace: Workspace, dataset: str) -> LedgerResult:
    """The budget, what is spent (Rényi accounting; and by privacy-loss distributions where they apply) and each charge.

    `along` is the spend of each stretch of the hash lines, of which `spent` is the highest; `along_by_type` is the same for the
    line of each identity type, and of each ingest of rows that are people. `over_by` is how much is spent beyond the budget;
    `raises` are those since the first charge.
    """
    return replace(show_population_ledger(workspace, _population(workspace, dataset)), dataset=dataset)


@open_to_all
def show_population_ledger(workspace: Workspace, population: str) -> LedgerResult:
    """The same for a population, whether or not a data set is of it."""
    ledger = Ledger(workspace.engine)
    budget, entries = ledger.budget(population), ledger.entries(population)
    with workspace.engine.connect() as connection:
        held, statements = holding(connection, population), stated(connection, population)
    shown = Spent(epsilon=0.0, delta=0.0, epsilon_pld=0.0, epsilon_filter=0.0)
    along: tuple[Stretch, ...] = ()
    by_type: dict[str, tuple[Stretch, ...]] = {}
    over_by = 0.0
    if budget is not None:
        along = _on_unit(spent_along(entries, budget.delta))
        by_type = {kind: _on_unit(line) for kind, line in spent_by_type(entries, budget.delta).items()}
        most = max((cost for _, _, cost in along), default=0.0)
        pld, at_order = spent_pld(entries, budget.delta), spent_at(entries, budget)
        shown = Spent(epsilon=most, delta=budget.delta, epsilon_pld=pld, epsilon_filter=at_order)
        over_by = most - budget.epsilon if most > budget.epsilon * (1 + ROUNDING) else 0.0
    note = held_note(held)
    return LedgerResult(
        population=population,
        budget=EpsilonDelta(epsilon=budget.epsilon, delta=budget.delta) if budget else None,
        ceiling=budget.ceiling if budget else None,
        raises=_raises(ledger, population),
        warnings=_warnings(workspace, budget) if budget else (),
        along=along,
        held=HeldResult(**note) if note else None,
        statements=tuple(StatementResult(**asdict(one), sentence=one.sentence) for one in statements),
        along_by_type=by_type,
        spent=shown,
        over_by=over_by,
        entries=tuple(_charge(entry, budget) for entry in entries),
    )


def _charge(entry: LedgerEntry, budget: Budget | None) -> ChargeResult:
    return ChargeResult(
        created=entry.created,
        dataset=entry.dataset,
        purpose=entry.purpose,
        event=event_to_json(entry.event),
        epsilon=price(entry.event, budget.delta) if budget else None,
        scope=tuple((low / LINE, high / LINE) for low, high in entry.scope),
        identity_type=entry.identity_type,
        adjacency=entry.adjacency,
        actor=entry.actor,
        uid=entry.uid,
    )


def _on_unit(stretches: Sequence[tuple[int, int, float]]) -> tuple[Stretch, ...]:
    return tuple((low / LINE, high / LINE, cost) for low, high, cost in stretches)


def _population(workspace: Workspace, dataset: str) -> str:
    with workspace.engine.connect() as connection:
        return catalog.entry(connection, dataset).schema.population
