"""The ledger as copies of one workspace exchange it: every charge by its id, and the budgets.

Copies of a workspace hold the same people, so they share one budget: what any of them charged counts in all that know it.
Merging only ever adds: a charge that is known is skipped, and of two budgets the stricter one stands, with the least that
either copy promised before its first charge. A raise beyond that is made again in each copy, where it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, model_validator
from sqlalchemy import Connection, select

from workbench.privacy.events import event_from_json
from workbench.privacy.hash_lines import LINE
from workbench.privacy.raises import promised_before
from workbench.schema.schema import POPULATION
from workbench.state import journal
from workbench.state.tables import budgets, charges

_MOST_EVENT_DEPTH = 32

Name = Annotated[str, StringConstraints(pattern=POPULATION)]
Line = Annotated[
    str, StringConstraints(pattern=POPULATION[:-1] + r"(/[0-9a-f]{1,64})?$")
]  # an ingest where rows are subjects
Short = Annotated[str, StringConstraints(max_length=500)]
Place = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Charge(_Record):
    """A charge as the ledger holds it; `uid` is the same in every copy of the workspace."""

    uid: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    population: Name
    identity_type: Line | None = None
    dataset: Short
    purpose: Short
    event: dict[str, Any]
    scope: list[list[Place]] = Field(min_length=1)
    adjacency: Short
    actor: Short
    created: Short

    @model_validator(mode="after")
    def _can_be_priced(self) -> Charge:
        if _depth(self.event) > _MOST_EVENT_DEPTH:
            raise ValueError("the event is nested too deeply")
        try:
            event_from_json(self.event)
        except Exception as fault:  # an event of any shape may come, and pricing it must not end in a traceback
            raise ValueError("the ledger cannot price the event") from fault
        if any(len(one) != 2 or not 0 <= int(one[0]) < int(one[1]) <= LINE for one in self.scope):
            raise ValueError("a scope is intervals low < high of the hash line")
        return self


class BudgetRecord(_Record):
    """A population's budget as the ledger holds it."""

    population: Name
    epsilon: FiniteFloat = Field(gt=0)
    delta: FiniteFloat = Field(gt=0, lt=1)
    ceiling: FiniteFloat | None = None


class SharedLedger(_Record):
    """All charges, oldest first, and all budgets."""

    charges: list[Charge] = []
    budgets: list[BudgetRecord] = []


@dataclass(frozen=True)
class Merged:
    """What a merge changed: how many charges are new here, and whose budgets were set or became stricter."""

    charges: int = 0
    budgets: tuple[str, ...] = ()


def shared_ledger(connection: Connection) -> SharedLedger:
    """Return every charge and budget of the workspace."""
    made = connection.execute(select(*(c for c in charges.c if c is not charges.c.id)).order_by(charges.c.id))
    return SharedLedger(
        charges=[Charge(**row._mapping) for row in made],
        budgets=[
            BudgetRecord(**{**row._mapping, "ceiling": _promised(connection, row)})
            for row in connection.execute(select(budgets))
        ],
    )


def merge_ledger(connection: Connection, ledger: SharedLedger) -> Merged:
    """Add what is unknown here, in the caller's write transaction; merging the same twice changes nothing."""
    promised = {row.population: _promised(connection, row) for row in connection.execute(select(budgets))}
    known = set(connection.execute(select(charges.c.uid)).scalars())
    new = {charge.uid: charge.model_dump() for charge in ledger.charges if charge.uid not in known}
    if new:
        connection.execute(charges.insert(), list(new.values()))
    changed = tuple(one.population for one in ledger.budgets if _merge_budget(connection, one, promised))
    if new or changed:
        journal.append(connection, "LEDGER_MERGED", charges=len(new), budgets=list(changed))
    return Merged(len(new), changed)


def _merge_budget(connection: Connection, other: BudgetRecord, promised: Mapping[str, float | None]) -> bool:
    """Set a budget that is unknown here, or the stricter of two; return whether anything changed.

    `promised` is what was promised here before the merge.
    """
    here = budgets.c.population == other.population
    row = connection.execute(select(budgets).where(here)).one_or_none()
    mine = promised.get(other.population)
    ceiling = min((one for one in (mine, other.ceiling) if one is not None), default=None)
    if not _is_charged(connection, other.population):
        ceiling = row.ceiling if row else other.ceiling  # it can still be declared
    epsilon = other.epsilon if row is None else min(row.epsilon, other.epsilon)
    is_shown = row is not None and mine is not None and row.epsilon > mine  # a raise that was made here
    if ceiling and not is_shown:
        epsilon = min(epsilon, ceiling)
    delta = other.delta if row is None else min(row.delta, other.delta)
    stricter = {"epsilon": epsilon, "delta": delta, "ceiling": ceiling}
    if row is None:
        if ceiling != 0:  # else nothing was promised: it is set here, with a reason
            connection.execute(budgets.insert().values(population=other.population, **stricter))
        return ceiling != 0
    changed = stricter != {"epsilon": row.epsilon, "delta": row.delta, "ceiling": mine}
    if changed:
        connection.execute(budgets.update().where(here).values(**stricter))
    return changed


def _promised(connection: Connection, budget: Any) -> float | None:
    """What was declared before the first charge, also by an earlier version; before it, the ceiling that is declared yet."""
    if not _is_charged(connection, budget.population):
        return None if budget.ceiling is None else float(budget.ceiling)
    return promised_before(connection, budget.population, budget.ceiling, budget.delta)


def _is_charged(connection: Connection, population: str) -> bool:
    return (
        connection.execute(select(charges.c.id).where(charges.c.population == population).limit(1)).first() is not None
    )


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= _MOST_EVENT_DEPTH:
        inner = [v for v in level if isinstance(v, dict | list)]
        level = [child for v in inner for child in (v.values() if isinstance(v, dict) else v)]
        depth += 1
    return depth
