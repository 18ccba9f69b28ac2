"""Holds: a restored workspace may lack charges that were made since its backup, so its populations count as spent.

A hold concerns every population, also one that the backup does not know: it may have been charged since. It is lifted by the
ledger of the workspace that was in use (see `workflows.suppressions`), or, for one population or all, by a person's statement
that nothing was charged after the last journal entry that is known. The reason stays beside the journal, which is append-only:
an erasure can withhold it.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, select

from workbench.errors import BudgetError, InputError
from workbench.state import journal
from workbench.state.tables import holds, statements
from workbench.state.tables import journal as entries

EVERYONE = ""  # the population of a statement about all of them
Kind = Literal["nothing_charged", "same_people", "raised"]


@dataclass(frozen=True, kw_only=True)
class Known:
    """How far a journal's charges are known: its last entry, when that was written, and the restore before it, if any."""

    sequence: int
    head: str
    known_until: str
    branch: str


@dataclass(frozen=True, kw_only=True)
class Hold(Known):
    """A restore after which charges may be missing."""

    id: str
    at: str


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What a person stated about a population, and why."""

    id: str
    at: str
    actor: str
    kind: Kind
    population: str
    about: str
    text: str
    reason: str

    @property
    def sentence(self) -> str:
        """The statement with its reason, as people are shown it."""
        return f"{self.at[:10]}: {self.text}. The reason that was given: {self.reason}"


def moment() -> str:
    """Return the time in UTC, ISO 8601, to the microsecond."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")


def known(connection: Connection) -> Known:
    """Return how far this workspace's own journal goes; an upgrade, which changes no charge, is not counted."""
    charged = select(entries).where(entries.c.kind != "MIGRATED")
    last = connection.execute(charged.order_by(entries.c.sequence.desc()).limit(1)).one_or_none()
    restored = charged.where(entries.c.kind == "RESTORED").order_by(entries.c.sequence.desc()).limit(1)
    branch = connection.execute(restored).one_or_none()
    return Known(
        sequence=last.sequence if last else 0,
        head=last.digest if last else journal.GENESIS,
        known_until=last.at if last else "",
        branch=branch.digest if branch else "",
    )


def begin(connection: Connection, known: Known) -> Hold:
    """Hold every population from now on, in the caller's write transaction."""
    hold = Hold(id=secrets.token_hex(8), at=moment(), **known.__dict__)
    connection.execute(holds.insert().values(**hold.__dict__))
    return hold


def holding(connection: Connection, population: str) -> list[Hold]:
    """Return the holds on a population that no statement lifts, oldest first."""
    answered = select(statements.c.about).where(
        (statements.c.kind == "nothing_charged") & statements.c.population.in_((population, EVERYONE))
    )
    return _holds(connection, holds.c.id.not_in(answered))


def unlifted(connection: Connection) -> list[Hold]:
    """Return the holds that no statement about all populations lifts, oldest first."""
    return holding(connection, EVERYONE)


def identities(connection: Connection) -> frozenset[str]:
    """Return the ids of all holds that no list ended, also where a statement lifts them: a statement is no evidence."""
    return frozenset(connection.execute(select(holds.c.id)).scalars())


def refuse_held(connection: Connection, population: str) -> None:
    """Raise BudgetError where charges of a population may be missing here."""
    found = holding(connection, population)
    if found:
        raise BudgetError(
            f"population {population} counts as wholly spent: the workspace was restored, and what was charged after "
            f"{found[0].known_until or 'the start'} is not known here; nothing was read",
            hint="workbench suppressions import LIST, exported now from the workspace that was in use; or, where nothing was "
            f"charged since, workbench ledger vouch {population} --reason TEXT",
        )


def lift(connection: Connection, hold: Hold) -> None:
    """Remove a hold whose missing charges have come, in the caller's write transaction."""
    connection.execute(holds.delete().where(holds.c.id == hold.id))


def learn(connection: Connection, hold: Hold, later: Known) -> None:
    """Record that the charges under a hold are known up to a later entry, in the caller's write transaction."""
    values = {"sequence": later.sequence, "head": later.head, "known_until": later.known_until}
    connection.execute(holds.update().where(holds.c.id == hold.id).values(**values))


def vouch(connection: Connection, population: str, reason: str) -> list[Statement]:
    """State, in the caller's write transaction, that nothing is missing of a population's charges, or of all (EVERYONE).

    Raises InputError where nothing is held.
    """
    found = holding(connection, population)
    if not found:
        raise InputError(
            "no charge is missing: the budget is not held", hint="workbench ledger show says what was spent"
        )
    return [
        state(
            connection,
            "nothing_charged",
            population=population,
            about=hold.id,
            text=f"nothing was charged after journal entry {hold.sequence} of {hold.known_until or 'the start'}, the last "
            f"that was known when the workspace was restored on {hold.at[:10]}",
            reason=reason,
        )
        for hold in found
    ]


def state(connection: Connection, kind: Kind, *, population: str, about: str, text: str, reason: str) -> Statement:
    """Record a statement by whoever acts, in the caller's write transaction; the journal names it by its id."""
    made = Statement(
        id=secrets.token_hex(8),
        at=journal.now(),
        actor=journal.actor(),
        kind=kind,
        population=population,
        about=about,
        text=text,
        reason=reason,
    )
    connection.execute(statements.insert().values(**made.__dict__))
    journal.append(connection, "STATED", statement=made.id, what=kind, population=population, about=about)
    return made


def stated(connection: Connection, population: str) -> list[Statement]:
    """Return what was stated about a population, or about all, oldest first."""
    mine = select(statements).where(statements.c.population.in_((population, EVERYONE)))
    return [Statement(**row._mapping) for row in connection.execute(mine.order_by(statements.c.at, statements.c.id))]


def held_note(left: Sequence[Hold]) -> dict[str, Any] | None:
    """Return what a held budget means, for an answer; None where nothing is held."""
    if not left:
        return None
    return {
        "known_until": left[0].known_until,
        "journal_entry": left[0].sequence,
        "notice": "every population counts as wholly spent, for charges made since may be missing. Export a list now in the "
        "workspace that was in use and give it to suppressions import; or, where nothing was charged since, state it by "
        "workbench ledger vouch --reason TEXT",
    }


def _holds(connection: Connection, condition: object) -> list[Hold]:
    chosen = select(holds).where(condition).order_by(holds.c.at)  # type: ignore[arg-type]
    return [Hold(**row._mapping) for row in connection.execute(chosen)]
