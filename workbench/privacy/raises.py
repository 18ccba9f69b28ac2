"""Raises of a budget after its first charge, each with what it means for what was promised before.

A larger delta, which earlier versions allowed, is a raise as well, and so is what replaces a budget that promised nothing.
Raises are read from the journal, so that those of earlier versions show as well; the reason is beside it, where an erasure can
withhold it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from workbench.privacy.holds import state
from workbench.state.journal import named
from workbench.state.tables import journal, statements

MOST_EPSILON, MOST_DELTA = 100, 0.1  # budgets beyond promise nothing


def is_void(epsilon: float, delta: float) -> bool:
    """Return whether a budget promises nothing; earlier versions stored such ones."""
    return epsilon > MOST_EPSILON or delta >= MOST_DELTA


@dataclass(frozen=True, kw_only=True)
class Raise:
    """A larger epsilon, decided after `releases` charges; `promised` is the most that was declared before the first one.

    It is 0 where nothing was declared that holds at `delta`.
    """

    at: str
    actor: str
    before: float
    to: float
    releases: int
    promised: float
    reason: str | None
    delta_before: float
    delta: float

    @property
    def kept(self) -> bool:
        """Whether the raise keeps what was promised before anything was learnt."""
        return self.to <= self.promised

    @property
    def text(self) -> str:
        """What was done, and what it means."""
        after = f"after {self.releases} release{'' if self.releases == 1 else 's'}"
        was, now = f"ε = {self.before:g}", f"ε = {self.to:g}"
        was_with_delta, now_with_delta = f"{was} at δ = {self.delta_before:g}", f"{now} at δ = {self.delta:g}"
        if is_void(self.before, self.delta_before):
            done = f"the budget of these people, {was_with_delta}, promised nothing, and was set to {now_with_delta} {after}"
        elif self.delta > self.delta_before:
            done = f"the budget of these people was raised {after}, from {was_with_delta} to {now_with_delta}"
        else:
            done = f"the budget of these people was raised {after}, from {was} to {now}"
        if self.kept:
            return (
                f"{done}, within the ε = {self.promised:g} declared before the first one, which holds for all of them"
            )
        if not self.promised:
            return f"{done}. It was decided after results had been seen, and was promised to no one beforehand"
        return (
            f"{done}, beyond the ε = {self.promised:g} declared before the first one; it was decided after results had been "
            "seen, and the larger ε was promised to no one beforehand"
        )

    @property
    def sentence(self) -> str:
        """The same with its day and reason, as people are shown it."""
        reason = f" The reason that was given: {self.reason}" if self.reason else " No reason is on record."
        return f"{self.at[:10]}: {self.text}.{reason}"


def record_raise(connection: Connection, population: str, made: Raise) -> str:
    """State a raise with its reason, in the caller's write transaction; return the statement's id."""
    return state(
        connection, "raised", population=population, about=population, text=made.text, reason=made.reason or ""
    ).id


def raises(connection: Connection, population: str, ceiling: float | None) -> list[Raise]:
    """Return the raises of a population's budget since its first charge, oldest first."""
    changes, names = _changes(connection, population), named(connection)
    reasons = {row.id: row.reason for row in connection.execute(select(statements.c.id, statements.c.reason))}
    return [
        Raise(
            at=change.at,
            actor=names.get(change.actor, change.actor),
            before=change.before,
            to=change.to,
            releases=change.releases,
            promised=_promised(changes, ceiling, change.delta),
            reason=reasons.get(change.statement),
            delta_before=change.delta_before,
            delta=change.delta,
        )
        for change in changes
        if change.releases
        and (
            change.to > change.before
            or change.delta > change.delta_before
            or is_void(change.before, change.delta_before)
        )
    ]


def promised_before(connection: Connection, population: str, ceiling: float | None, delta: float) -> float:
    """Return the most that was declared before a population's first charge and holds at `delta`; 0 where nothing does."""
    return _promised(_changes(connection, population), ceiling, delta)


def declared_delta(connection: Connection, population: str) -> float | None:
    """Return the delta that was declared before a population's first charge, by the journal."""
    declared = _declared(_changes(connection, population))
    return declared.delta if declared else None


@dataclass(frozen=True, kw_only=True)
class _Change:
    """A budget that was declared, after `releases` charges."""

    at: str
    actor: str
    before: float
    to: float
    ceiling: float
    delta_before: float
    delta: float
    releases: int
    statement: str


def _declared(changes: list[_Change]) -> _Change | None:
    return next((change for change in reversed(changes) if not change.releases), None)


def _promised(changes: list[_Change], ceiling: float | None, delta: float) -> float:
    """The same; a `ceiling` that is known goes before the journal, which a restored copy has only in part."""
    declared = _declared(changes)
    if declared is not None and (is_void(declared.to, declared.delta) or declared.delta < delta):
        return 0.0
    if ceiling is not None:
        return ceiling
    return max(declared.to, declared.ceiling) if declared else 0.0


def _changes(connection: Connection, population: str) -> list[_Change]:
    """The journal's entries about a budget; those of earlier versions don't say what was before them, so it is counted."""
    rows = connection.execute(
        select(journal).where(journal.c.kind.in_(("BUDGET", "CHARGE"))).order_by(journal.c.sequence)
    )
    found: list[_Change] = []
    charged = 0
    for row in rows:
        body: dict[str, Any] = row.body
        if body.get("population") != population:
            continue
        if row.kind == "CHARGE":
            charged += 1
            continue
        found.append(
            _Change(
                at=row.at,
                actor=row.actor,
                before=float(body.get("was", found[-1].to if found else 0.0)),
                to=float(body["epsilon"]),
                ceiling=float(body.get("ceiling", 0.0)),
                delta_before=found[-1].delta if found else float(body["delta"]),
                delta=float(body["delta"]),
                releases=int(body.get("releases", charged)),
                statement=body.get("statement", ""),
            )
        )
    return found
