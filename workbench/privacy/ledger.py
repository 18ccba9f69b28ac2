"""The privacy ledger: one budget per population, charged before anything private is read, never refunded.

A charge covers a scope of the hash line (the subjects whose points lie there); what is spent is the maximum over points
of the composition of all charges that cover the point (parallel composition across disjoint scopes). Refusal is a
Rényi filter at one order fixed by the budget alone, sound for adaptively chosen mechanisms (Feldman & Zrnic 2021, Thm 4.3).

Mechanisms that may fail with a small probability (approximate zCDP) share a tenth of the budget's delta, and the filter has the
rest. That division must not depend on what was learnt, so it is made where the population's first charge is such a one.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

import dp_accounting as dpa
from dp_accounting import pld, rdp
from sqlalchemy import Connection, Engine, select

from workbench import journal
from workbench.errors import BudgetError, InputError
from workbench.privacy.calibration import epsilon_of, filter_order, zcdp_rho
from workbench.privacy.events import Event, event_from_json, event_to_json, split_failure
from workbench.state import writing
from workbench.state.tables import budgets, charges

LINE = 2**64
Scope = Sequence[tuple[int, int]]
EVERYONE = ((0, LINE),)
ADJACENCY = "add or remove one subject"
_RELATION = dpa.NeighboringRelation.ADD_OR_REMOVE_ONE
FAILURES = 0.1  # the share of the budget's delta that is kept for failures, where it is divided


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The most a population may spend: (epsilon, delta)-DP over its whole life."""

    population: str
    epsilon: float
    delta: float


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
    identity_type: str | None = None  # whose points the scope holds; None: unknown, it counts for everybody
    uid: str = ""  # the same in every copy of the workspace; empty where nothing was charged


@dataclass(frozen=True)
class Ledger:
    """The charges of all populations of one workspace database.

    Guarantees:
      - a charge is one write transaction: however many writers race, the sum never exceeds the budget.
      - a refused charge changes nothing; an accepted one stays, whatever happens next.
    """

    engine: Engine

    def set_budget(self, population: str, *, epsilon: float, delta: float) -> Budget:
        """Declares or replaces a population's budget; lowering it below what is spent only refuses further charges."""
        zcdp_rho(epsilon, delta)  # validates both
        with writing(self.engine) as connection:
            values = {"epsilon": epsilon, "delta": delta}
            updated = connection.execute(budgets.update().where(budgets.c.population == population).values(values))
            if not updated.rowcount:
                connection.execute(budgets.insert().values(population=population, **values))
            journal.append(connection, "BUDGET", population=population, **values)
        return Budget(population=population, epsilon=epsilon, delta=delta)

    def budget(self, population: str) -> Budget | None:
        """The declared budget, or None where there is none (then every charge is refused)."""
        with self.engine.connect() as connection:
            return _budget(connection, population)

    def entries(self, population: str) -> list[LedgerEntry]:
        """All charges of a population, oldest first."""
        with self.engine.connect() as connection:
            return _entries(connection, population)

    def admits(self, population: str, events: Sequence[Event]) -> bool:
        """Whether the budget would admit all of these charges of everybody, as of now; nothing is charged."""
        with self.engine.connect() as connection:
            budget, entries = _budget(connection, population), _entries(connection, population)
        added = [unrecorded(population, event) for event in events]
        return budget is not None and _admits(budget, [*entries, *added])

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

        `identity_type` names the hash line that the points of `scope` are on; a scope without one counts for everybody.
        """
        document = event_to_json(event)
        _check_scope(scope)
        with writing(self.engine) as connection:
            budget = _budget(connection, population)
            if budget is None:
                raise BudgetError(
                    f"population {population} has no privacy budget, so nothing private may be read",
                    hint=f"workbench ledger budget {dataset} --epsilon E --delta D",
                )
            entry = LedgerEntry(
                population=population,
                dataset=dataset,
                purpose=purpose,
                event=event,
                scope=scope,
                actor=journal.actor(),
                created=journal.now(),
                identity_type=identity_type,
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
                    f"charging epsilon {epsilon_of(event, budget.delta):.4g} for {purpose} would exceed the budget of "
                    f"population {population}: {spent(entries, budget.delta):.4g} of {budget.epsilon:.4g} is spent at "
                    f"delta {budget.delta:g}; nothing was read",
                    hint="ask for less, or have the budget raised",
                )
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
                    identity_type=identity_type,
                    uid=entry.uid,
                )
            )
            journal.append(connection, "CHARGE", population=population, purpose=purpose, event=document)


def unrecorded(population: str, event: Event) -> LedgerEntry:
    """A charge of everybody that was not made, to see what it would come to."""
    return LedgerEntry(population=population, dataset="", purpose="", event=event, scope=EVERYONE, actor="", created="")


def spent(entries: Iterable[LedgerEntry], delta: float) -> float:
    """The epsilon that the charges cost at `delta` by Rényi accounting: the maximum over points of the hash line."""
    return max((epsilon for _, _, epsilon in spent_along(entries, delta)), default=0.0)


def spent_along(entries: Iterable[LedgerEntry], delta: float) -> list[tuple[int, int, float]]:
    """The same for each stretch [low, high) of the line between edges of scopes, in order; none where nothing was charged."""
    return [(low, high, price(dpa.ComposedDpEvent(events), delta)) for low, high, events in _stretches(entries)]


def price(event: Event, delta: float) -> float:
    """Does as `epsilon_of`, and remembers: sampled events take long, and the same ones are asked for again and again."""
    return _price(_Priced(repr(event), event), delta)


def spent_pld(entries: Iterable[LedgerEntry], delta: float) -> float | None:
    """The same by privacy-loss distributions, tighter, for information; None where an event has no such distribution."""
    epsilons = [0.0]
    for events in _by_point(entries):
        composed = dpa.ComposedDpEvent(events)
        epsilon = _price_pld(_Priced(repr(composed), composed), delta)
        if epsilon is None:
            return None
        epsilons.append(epsilon)
    return max(epsilons)


@dataclass(frozen=True)
class _Priced:
    """An event under its name, which tells it whole: most events can't be looked up by themselves."""

    name: str
    event: Event = field(compare=False)


@lru_cache(maxsize=1024)
def _price(priced: _Priced, delta: float) -> float:
    return epsilon_of(priced.event, delta)


@lru_cache(maxsize=1024)
def _price_pld(priced: _Priced, delta: float) -> float | None:
    accountant = pld.PLDAccountant(_RELATION)
    if not accountant.supports(priced.event):
        return None
    return float(accountant.compose(priced.event).get_epsilon(delta))


def _admits(budget: Budget, entries: Sequence[LedgerEntry]) -> bool:
    """Whether every point of the line stays within budget at the filter's order."""
    limit = budget.epsilon * (1 + 1e-9)  # a charge of exactly the budget must not fail on rounding
    kept = FAILURES * budget.delta if _may_fail(entries[0]) else 0.0
    for events in _by_point(entries):
        rest, failure = split_failure(dpa.ComposedDpEvent(events))
        accountant = rdp.RdpAccountant([filter_order(budget.epsilon, budget.delta)], _RELATION).compose(rest)
        if not (failure <= kept * (1 + 1e-9) and accountant.get_epsilon(budget.delta - kept) <= limit):
            return False
    return True


def _may_fail(entry: LedgerEntry) -> bool:
    return split_failure(entry.event)[1] > 0


def _by_point(entries: Iterable[LedgerEntry]) -> list[list[Event]]:
    """For each stretch of the line between scope edges, the events that cover it."""
    return [events for _, _, events in _stretches(entries)]


def _stretches(entries: Iterable[LedgerEntry]) -> list[tuple[int, int, list[Event]]]:
    """Each stretch [low, high) between scope edges that events cover, with these."""
    entries = list(entries)
    edges = sorted({edge for entry in entries for interval in entry.scope for edge in interval})
    stretches = [
        (left, right, [e.event for e in entries if any(low <= left < high for low, high in e.scope)])
        for left, right in pairwise(edges)
    ]
    return [stretch for stretch in stretches if stretch[2]]


def _check_scope(scope: Scope) -> None:
    if not scope or any(not 0 <= low < high <= LINE for low, high in scope):
        raise InputError("a scope is one or more intervals low < high of the hash line [0, 2**64)")


def _budget(connection: Connection, population: str) -> Budget | None:
    row = connection.execute(select(budgets).where(budgets.c.population == population)).one_or_none()
    return Budget(population=row.population, epsilon=row.epsilon, delta=row.delta) if row else None


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
