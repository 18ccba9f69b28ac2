"""Raises of a budget after its first charge, each with what it means for what was promised before.

They are read from the journal, so that raises of earlier versions show as well; the reason is beside it, where an erasure can
withhold it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from workbench.privacy.holds import state
from workbench.state.tables import journal, statements


@dataclass(frozen=True, kw_only=True)
class Raise:
    """A larger epsilon, decided after `releases` charges; `promised` is the most that was declared before the first one."""

    at: str
    actor: str
    before: float
    to: float
    releases: int
    promised: float
    reason: str | None

    @property
    def kept(self) -> bool:
        """Whether the raise keeps what was promised before anything was learnt."""
        return self.to <= self.promised

    @property
    def text(self) -> str:
        """What was done, and what it means."""
        after = f"after {self.releases} release{'' if self.releases == 1 else 's'}"
        done = f"the budget of these people was raised {after}, from ε = {self.before:g} to ε = {self.to:g}"
        if self.kept:
            return (
                f"{done}, within the ε = {self.promised:g} declared before the first one, which holds for all of them"
            )
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
    promised = promised_before(connection, population) if ceiling is None else ceiling
    reasons = {row.id: row.reason for row in connection.execute(select(statements.c.id, statements.c.reason))}
    return [
        Raise(
            at=change.at,
            actor=change.actor,
            before=change.before,
            to=change.to,
            releases=change.releases,
            promised=promised,
            reason=reasons.get(change.statement),
        )
        for change in _changes(connection, population)
        if change.releases and change.to > change.before
    ]


def promised_before(connection: Connection, population: str) -> float:
    """Return the most that was declared before a population's first charge, by the journal; 0 where nothing was."""
    declared = [change for change in _changes(connection, population) if not change.releases]
    return max(declared[-1].to, declared[-1].ceiling) if declared else 0.0


@dataclass(frozen=True, kw_only=True)
class _Change:
    """A budget that was declared, after `releases` charges."""

    at: str
    actor: str
    before: float
    to: float
    ceiling: float
    releases: int
    statement: str


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
                releases=int(body.get("releases", charged)),
                statement=body.get("statement", ""),
            )
        )
    return found
