"""The privacy ledger: one budget per population, charged before anything private is read, never refunded.

A charge covers a scope of the hash line of an identity type (the subjects whose points are there). Where each row is a subject,
points are bound to the ingest that numbered the rows, so each ingest is a line. A person has one point on each line, and they
all add up: what is spent is what everybody paid, and for each line the most that one of its points paid
(parallel composition across disjoint scopes of one line, and of no two). Refusal is a
Rényi filter at one order fixed by the budget alone, sound for adaptively chosen mechanisms (Feldman & Zrnic 2021, Thm 4.3).

Mechanisms that may fail with a small probability (approximate zCDP) share a tenth of the budget's delta, and the filter has the
rest. That division must not depend on what was learnt, so it is made where the population's first charge is such a one.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from workbench.errors import BudgetError, InputError
from workbench.privacy.accounting import dpa, pld, rdp
from workbench.privacy.calibration import ORDERS, filter_order
from workbench.privacy.events import Event, event_from_json, event_to_json, split_failure
from workbench.privacy.hash_lines import (
    EVERYONE,
    LINE,
    Named,
    Scope,
    arrange,
    costliest,
    curve,
    epsilon_along,
    epsilon_of_curve,
    highest,
    merge,
    named,
)
from workbench.privacy.holds import holding, refuse_held
from workbench.privacy.raises import (
    MOST_DELTA,
    MOST_EPSILON,
    Raise,
    declared_delta,
    is_void,
    promised_before,
    raises,
    record_raise,
)
from workbench.schema.schema import ROW_SUBJECT
from workbench.state import journal, writing
from workbench.state.tables import budgets, charges, datasets

ADJACENCY = "add or remove one subject"
_RELATION = dpa.NeighboringRelation.ADD_OR_REMOVE_ONE
FAILURES = 0.1  # the share of the budget's delta that is kept for failures, where it is divided
ROUNDING = 1e-9  # a charge of exactly the budget must not fail on rounding


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The most a population may spend: (epsilon, delta)-DP over its whole life."""

    population: str
    epsilon: float
    delta: float
    ceiling: float | None = None  # the most that epsilon may become without breaking what was promised

    @property
    def void(self) -> str | None:
        """Why the budget admits nothing, where it promises nothing: earlier versions stored such ones."""
        if not is_void(self.epsilon, self.delta):
            return None
        return (
            f"the budget of population {self.population}, epsilon {self.epsilon:g} at delta {self.delta:g}, promises nothing, "
            "so it admits nothing"
        )


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One charge: what was (or may have been) learnt about whom, and why."""

    population: str
    dataset: str
    purpose: str
    event: Event
    scope: Scope
    actor: str
    created: str
    adjacency: str = ADJACENCY
    identity_type: str | None = None  # the line, see `_line`; None: unknown, it counts for everybody
    uid: str = ""  # the same in every copy of the workspace; empty where nothing was charged


@dataclass(frozen=True)
class Ledger:
    """The charges of all populations of one workspace database.

    Guarantees:
      - a charge is one write transaction: however many writers race, the sum never exceeds the budget.
      - a refused charge changes nothing; an accepted one stays, whatever happens next.
    """

    engine: Engine

    def set_budget(
        self,
        population: str,
        *,
        epsilon: float,
        delta: float,
        ceiling: float | None = None,
        reason: str | None = None,
    ) -> Budget:
        """Declare or replace a population's budget; lowering it below what is spent only refuses further charges.

        Before the first charge anything may be declared, and `ceiling` is the most that epsilon may become later. After it
        delta stays, and a larger epsilon needs a `reason`. Earlier versions let a budget become one that promises nothing,
        and delta larger than was declared: both can be lowered. Raises InputError otherwise, and for senseless numbers.
        """
        _check_budget(epsilon, delta, ceiling)
        with writing(self.engine) as connection:
            before, charged = _budget(connection, population), _charged(connection, population)
            values: dict[str, Any] = {"epsilon": epsilon, "delta": delta, "ceiling": ceiling}
            recorded: dict[str, Any] = {"releases": charged} | ({"ceiling": ceiling} if ceiling is not None else {})
            if charged:
                _check_change(before, delta, ceiling, charged, declared=declared_delta(connection, population))
                values["ceiling"] = before.ceiling if before else None
                if before is None or epsilon > before.epsilon or (before.void and reason):
                    recorded |= _record_raise(
                        connection, before, Budget(population=population, **values), reason, charged
                    )
            updated = connection.execute(budgets.update().where(budgets.c.population == population).values(values))
            if not updated.rowcount:
                connection.execute(budgets.insert().values(population=population, **values))
            journal.append(connection, "BUDGET", population=population, epsilon=epsilon, delta=delta, **recorded)
        return Budget(population=population, **values)

    def budget(self, population: str) -> Budget | None:
        """The declared budget, or None where there is none (then every charge is refused)."""
        with self.engine.connect() as connection:
            return _budget(connection, population)

    def raises(self, population: str) -> list[Raise]:
        """Raises of the budget since the first charge, oldest first."""
        with self.engine.connect() as connection:
            budget = _budget(connection, population)
            return raises(connection, population, budget.ceiling if budget else None)

    def entries(self, population: str) -> list[LedgerEntry]:
        """All charges of a population, oldest first."""
        with self.engine.connect() as connection:
            return _entries(connection, population)

    def admits(self, population: str, events: Sequence[Event]) -> bool:
        """Whether the budget would admit all of these charges of everybody, as of now; nothing is charged."""
        with self.engine.connect() as connection:
            budget, entries = _budget(connection, population), _entries(connection, population)
            held = holding(connection, population)
        added = [unrecorded(population, event) for event in events]
        return budget is not None and not budget.void and not held and _admits(budget, [*entries, *added])

    def charge(
        self,
        population: str,
        event: Event,
        *,
        dataset: str,
        purpose: str,
        scope: Scope = EVERYONE,
        identity_type: str | None = None,
    ) -> None:
        """Record a charge, or raise BudgetError where no budget is set or the charge would exceed it.

        `identity_type` and `dataset` say which hash line the points of `scope` are on; a scope without a type counts for
        everybody.
        """
        document = event_to_json(event)
        _check_scope(scope)
        with writing(self.engine) as connection:
            refuse_held(connection, population)
            budget = _budget(connection, population)
            if budget is None:
                raise BudgetError(
                    f"population {population} has no privacy budget, so nothing private may be read",
                    hint=f"workbench ledger budget {dataset} --epsilon E --delta D",
                )
            if budget.void:
                raise BudgetError(
                    f"{budget.void}; nothing was read",
                    hint=f"workbench ledger budget {dataset} --epsilon E --delta D, with an epsilon of at most {MOST_EPSILON} "
                    f"and a delta under {MOST_DELTA}",
                )
            entry = LedgerEntry(
                population=population,
                dataset=dataset,
                purpose=purpose,
                event=event,
                scope=scope,
                actor=journal.actor(),
                created=journal.now(),
                identity_type=_line(connection, dataset, identity_type),
                uid=secrets.token_hex(16),
            )
            entries = _entries(connection, population)
            if _may_fail(entry) and entries and not _may_fail(entries[0]):
                raise BudgetError(
                    f"{purpose} must be the first thing that is learnt from population {population}, and the ledger has "
                    "charges already; nothing was read",
                    hint="write the schema by hand, or infer it before anything is fitted",
                )
            if not _admits(budget, [*entries, entry]):
                raise BudgetError(
                    f"charging epsilon {price(event, budget.delta):.4g} for {purpose} would exceed the budget of "
                    f"population {population}: {spent(entries, budget.delta):.4g} of {budget.epsilon:.4g} is spent at "
                    f"delta {budget.delta:g}; nothing was read",
                    hint="ask for less, or have the budget raised",
                )
            if not entries and budget.ceiling is None:  # from now on it is known what was promised beforehand
                here = budgets.c.population == population
                connection.execute(budgets.update().where(here).values(ceiling=budget.epsilon))
            connection.execute(
                charges.insert().values(
                    population=population,
                    dataset=dataset,
                    purpose=purpose,
                    event=document,
                    scope=[[str(low), str(high)] for low, high in scope],
                    adjacency=ADJACENCY,
                    actor=entry.actor,
                    created=entry.created,
                    identity_type=entry.identity_type,
                    uid=entry.uid,
                )
            )
            journal.append(connection, "CHARGE", population=population, purpose=purpose, event=document)


def unrecorded(population: str, event: Event) -> LedgerEntry:
    """A charge of everybody that was not made, to see what it would come to."""
    return LedgerEntry(population=population, dataset="", purpose="", event=event, scope=EVERYONE, actor="", created="")


def spent(entries: Iterable[LedgerEntry], delta: float) -> float:
    """Return the epsilon that the charges cost the person who paid most, at `delta`, by Rényi accounting."""
    return max((epsilon for _, _, epsilon in spent_along(entries, delta)), default=0.0)


def spent_along(entries: Iterable[LedgerEntry], delta: float) -> list[tuple[int, int, float]]:
    """Return the same for each stretch [low, high) of the hash lines, laid over one another, where anything was charged."""
    charged = arrange(entries)
    if charged.lines:
        return merge(epsilon_along(charged, ORDERS, delta).values())
    return [(0, LINE, epsilon_of_curve(curve(charged.everybody, ORDERS), ORDERS, delta))] if charged.everybody else []


def spent_by_type(entries: Iterable[LedgerEntry], delta: float) -> dict[str, list[tuple[int, int, float]]]:
    """Return the same for the line of each identity type that has charges of its own."""
    return epsilon_along(arrange(entries), ORDERS, delta)


def spent_at(entries: Iterable[LedgerEntry], budget: Budget) -> float:
    """Return what the filter compares with the budget: the epsilon at its one order, and at the delta that it has."""
    entries = list(entries)
    order = filter_order(budget.epsilon, budget.delta)
    return _at_order(order, highest(arrange(entries), (order,))[0], budget.delta - _kept(budget, entries))


def price(event: Event, delta: float) -> float:
    """Return what an event costs at `delta` by itself, as `epsilon_of` does."""
    return epsilon_of_curve(curve([named(event)], ORDERS), ORDERS, delta)


def spent_pld(entries: Iterable[LedgerEntry], delta: float) -> float | None:
    """Return `spent` by privacy-loss distributions, tighter, for information.

    None where an event has no such distribution, or where charges of several identity types combine in too many ways.
    """
    sums = costliest(arrange(entries))
    found = None if sums is None else [_price_pld(events, delta) for events in sums if events]
    return None if found is None or None in found else max(filter(None, found), default=0.0)


@lru_cache(maxsize=1024)
def _price_pld(events: tuple[Named, ...], delta: float) -> float | None:
    composed, accountant = dpa.ComposedDpEvent([one.event for one in events]), pld.PLDAccountant(_RELATION)
    return float(accountant.compose(composed).get_epsilon(delta)) if accountant.supports(composed) else None


def _admits(budget: Budget, entries: Sequence[LedgerEntry]) -> bool:
    """Whether every person stays within budget at the filter's order, and within its ceiling at the ceiling's order."""
    promises = [budget]
    if budget.ceiling is not None and budget.epsilon < budget.ceiling:
        promises.append(replace(budget, epsilon=budget.ceiling))
    orders, kept = tuple(filter_order(promise.epsilon, promise.delta) for promise in promises), _kept(budget, entries)
    *paid, failure = highest(arrange(entries), orders)
    return bool(failure <= kept * (1 + ROUNDING)) and all(
        _at_order(order, rdp_paid, budget.delta - kept) <= promise.epsilon * (1 + ROUNDING)
        for promise, order, rdp_paid in zip(promises, orders, paid, strict=True)
    )


def _at_order(order: float, paid: float, delta: float) -> float:
    return float(rdp.compute_epsilon((order,), (paid,), delta)[0])


def _kept(budget: Budget, entries: Sequence[LedgerEntry]) -> float:
    """The part of delta that is kept for failures."""
    return FAILURES * budget.delta if entries and _may_fail(entries[0]) else 0.0


def _may_fail(entry: LedgerEntry) -> bool:
    return split_failure(entry.event)[1] > 0


def _check_budget(epsilon: float, delta: float, ceiling: float | None) -> None:
    filter_order(epsilon, delta)  # refuses what is not positive and finite
    for name, most in (("epsilon", epsilon), ("the ceiling", epsilon if ceiling is None else ceiling)):
        if not most <= MOST_EPSILON:
            raise InputError(
                f"{name} must be at most {MOST_EPSILON}, found {most:g}: a larger one protects no one",
                hint="usual values are between 0.1 and 10",
            )
    if delta >= MOST_DELTA:
        raise InputError(
            f"delta must be under {MOST_DELTA}, found {delta:g}: so often the guarantee may fail wholly",
            hint="choose well under one over the number of people, for example 1e-6",
        )
    if ceiling is not None and ceiling < epsilon:
        raise InputError(
            f"the ceiling {ceiling:g} is under epsilon {epsilon:g}", hint="declare a ceiling above epsilon"
        )


def _check_change(
    before: Budget | None, delta: float, ceiling: float | None, charged: int, *, declared: float | None
) -> None:
    """Raise InputError for what can't be changed any more: what was promised before the first charge."""
    if before is None:
        return
    was_raised = before.delta >= MOST_DELTA or (declared is not None and before.delta > declared)
    if delta > before.delta or (delta < before.delta and not was_raised):
        raise InputError(
            f"population {before.population} was charged {charged} times, so its delta stays {before.delta:g}; found "
            f"{delta:g}. At another delta, what was spent would have another price",
            hint=f"--delta {before.delta:g}",
        )
    if ceiling is not None and ceiling != before.ceiling:
        raise InputError(
            f"population {before.population} was charged {charged} times, and a ceiling is declared before the first charge",
            hint="leave out the ceiling; a raise beyond it needs a reason and is shown as such",
        )


def _record_raise(
    connection: Connection, before: Budget | None, now: Budget, reason: str | None, charged: int
) -> dict[str, Any]:
    """State a raise with its reason; return what the journal's entry says of it."""
    was = before.epsilon if before else 0.0
    if not (reason and reason.strip()):
        raise InputError(
            f"population {now.population} was charged {charged} times: to raise epsilon from {was:g} to {now.epsilon:g} now "
            "needs a reason, which is shown beside the budget and on cards",
            hint="--reason TEXT",
        )
    made = Raise(
        at=journal.now(),
        actor=journal.actor(),
        before=was,
        to=now.epsilon,
        releases=charged,
        promised=promised_before(connection, now.population, now.ceiling, now.delta),
        reason=reason.strip(),
        delta_before=before.delta if before else now.delta,
        delta=now.delta,
    )
    return {"was": was, "statement": record_raise(connection, now.population, made)}


def _line(connection: Connection, dataset: str, identity_type: str | None) -> str | None:
    """Return the hash line of a data set's subjects: their identity type, and the ingest too where each row is a subject."""
    here = (datasets.c.name == dataset) & (datasets.c.identity_type == identity_type)
    of_rows = select(datasets.c.ingest).where(here & (datasets.c.schema["subject"].as_string() == ROW_SUBJECT))
    ingest = connection.execute(of_rows).scalar()
    return identity_type if ingest is None else f"{identity_type}/{ingest}"


def _charged(connection: Connection, population: str) -> int:
    counted = select(func.count()).select_from(charges).where(charges.c.population == population)
    return int(connection.execute(counted).scalar_one())


def _check_scope(scope: Scope) -> None:
    if not scope or any(not 0 <= low < high <= LINE for low, high in scope):
        raise InputError("a scope is one or more intervals low < high of the hash line [0, 2**64)")


def _budget(connection: Connection, population: str) -> Budget | None:
    row = connection.execute(select(budgets).where(budgets.c.population == population)).one_or_none()
    return Budget(population=row.population, epsilon=row.epsilon, delta=row.delta, ceiling=row.ceiling) if row else None


def _entries(connection: Connection, population: str) -> list[LedgerEntry]:
    rows = connection.execute(select(charges).where(charges.c.population == population).order_by(charges.c.id))
    return [_entry(row) for row in rows]


def _entry(row: Any) -> LedgerEntry:
    return LedgerEntry(
        population=row.population,
        dataset=row.dataset,
        purpose=row.purpose,
        event=event_from_json(row.event),
        scope=tuple((int(low), int(high)) for low, high in row.scope),
        actor=row.actor,
        created=row.created,
        adjacency=row.adjacency,
        identity_type=row.identity_type,
        uid=row.uid,
    )
