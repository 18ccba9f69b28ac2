"""An append-only, hash-chained log of what was done to the workspace and by whom.

Each entry's digest covers its content and the digest before it, so an edit anywhere breaks every later link.
An entry names a person only by a request id, and whoever acted by a reference: their name is kept beside the log, where it
can be taken out.
"""

from __future__ import annotations

import datetime as dt
import getpass
import hmac
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Connection, String, cast, select

from workbench.state.atomic_files import sha256
from workbench.state.tables import actors, journal

GENESIS = "0" * 64
_REF, _API = "actor-", "api:"
_ACTOR: ContextVar[str | None] = ContextVar("actor", default=None)
_JOB: ContextVar[str | None] = ContextVar("job", default=None)


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


@contextmanager
def acting(who: str) -> Iterator[None]:
    """Within it, in this thread, `who` acts in place of the operating system's user."""
    token = _ACTOR.set(who)
    try:
        yield
    finally:
        _ACTOR.reset(token)


def actor() -> str:
    """Who acts: whoever a door said it is, else the operating system's user, as `local:NAME`."""
    who = _ACTOR.get()
    if who is not None:
        return who
    try:
        return f"local:{getpass.getuser()}"
    except (KeyError, OSError):  # a user id without a name, as in bare containers
        return "local:unknown"


@contextmanager
def working(job: str) -> Iterator[None]:
    """Within it, in this thread, what is done is done as a job, named `ID (KIND)`."""
    token = _JOB.set(job)
    try:
        yield
    finally:
        _JOB.reset(token)


def job() -> str | None:
    """Return the job that this thread is at, as `ID (KIND)`; None outside of all jobs."""
    return _JOB.get()


def reference(connection: Connection, who: str) -> str:
    """What the journal calls an actor; where it never named them they get a reference, in the caller's write transaction."""
    known = _known(connection, who)
    if known is None:
        salt = secrets.token_bytes(16)
        known = _hash(salt, who)
        connection.execute(actors.insert().values(ref=known, salt=salt, name=who))
    return known


def is_actor(connection: Connection, stored: str, who: str | None = None) -> bool:
    """Whether a name or reference that was stored is that of `who`, or else of whoever acts now."""
    who = actor() if who is None else who
    return stored == who or (stored.startswith(_REF) and stored == _known(connection, who))


def withhold(connection: Connection, who: str) -> str:
    """Takes an actor's name away, in the caller's write transaction; returns the reference that is left."""
    ref = reference(connection, who)
    connection.execute(actors.update().where(actors.c.ref == ref).values(name=None))
    return ref


def named(connection: Connection) -> dict[str, str]:
    """The names of actors that are still known, by reference."""
    rows = connection.execute(select(actors).where(actors.c.name.is_not(None)))
    return {row.ref: row.name for row in rows}


def _known(connection: Connection, who: str) -> str | None:
    short = who.removeprefix(_API)  # a controller whose name was taken away is called by its reference
    rows = connection.execute(select(actors)).all()
    return next(
        (
            r.ref
            for r in rows
            if r.name == who or r.ref in (short, who) or (r.name is None and r.ref == _hash(r.salt, who))
        ),
        None,
    )


def _hash(salt: bytes, who: str) -> str:
    return _REF + hmac.digest(salt, who.encode(), "sha256").hex()[:24]


def _link(sequence: int, at: str, who: str, kind: str, body: Any, previous: str) -> str:
    return sha256(json.dumps([sequence, at, who, kind, body, previous], sort_keys=True).encode())


def append(connection: Connection, kind: str, **body: Any) -> str:
    """Adds an entry inside the caller's write transaction; returns its digest, the new head of the chain."""
    return append_each(connection, kind, [body])


def append_each(connection: Connection, kind: str, bodies: Sequence[dict[str, Any]]) -> str:
    """Adds an entry per body, in their order, as `append` does; many at once hold the write lock for a moment only."""
    last = connection.execute(select(journal).order_by(journal.c.sequence.desc()).limit(1)).one_or_none()
    before, digest = (last.sequence, last.digest) if last else (0, GENESIS)
    at, who = now(), reference(connection, actor())
    rows = []
    for sequence, body in enumerate(bodies, start=before + 1):
        previous, digest = digest, _link(sequence, at, who, kind, body, digest)
        entry = {"sequence": sequence, "at": at, "actor": who, "kind": kind}
        rows.append({**entry, "body": body, "previous": previous, "digest": digest})
    if rows:
        connection.execute(journal.insert(), rows)
    return digest


def head(connection: Connection) -> str:
    """The digest of the last entry."""
    digest = connection.execute(select(journal.c.digest).order_by(journal.c.sequence.desc()).limit(1)).scalar()
    return digest or GENESIS


def broken_at(connection: Connection) -> int | None:
    """The sequence number of the first entry whose link does not hold, or None where the whole chain holds."""
    previous, expected = GENESIS, 1
    body = cast(journal.c.body, String).label("body")  # as text: a tampered one may not even be JSON
    columns = [body if column is journal.c.body else column for column in journal.c]
    for entry in connection.execute(select(*columns).order_by(journal.c.sequence)):
        try:
            link = _link(entry.sequence, entry.at, entry.actor, entry.kind, json.loads(entry.body), previous)
        except (ValueError, TypeError, RecursionError):
            return int(entry.sequence)
        if entry.sequence != expected or entry.previous != previous or entry.digest != link:
            return int(entry.sequence)
        previous, expected = entry.digest, expected + 1
    return None


def entries(connection: Connection, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """When the entries of a kind were made and what they say, oldest first."""
    chosen = select(journal.c.at, journal.c.body).where(journal.c.kind == kind).order_by(journal.c.sequence)
    return [(row.at, row.body) for row in connection.execute(chosen)]


def about(connection: Connection, request: str) -> list[dict[str, Any]]:
    """The entries that name a request, oldest first, with `at`, `actor`, `kind` and `body`."""
    names = named(connection)
    rows = connection.execute(select(journal).order_by(journal.c.sequence))
    about = (row for row in rows if request == row.body.get("request") or request in row.body.get("requests", ()))
    return [
        {"at": row.at, "actor": names.get(row.actor, row.actor), "kind": row.kind, "body": row.body} for row in about
    ]


def latest(connection: Connection, *, kind: str | None = None, limit: int = 500) -> list[dict[str, Any]]:
    """The last entries, newest first."""
    chosen = select(journal).order_by(journal.c.sequence.desc()).limit(limit)
    if kind is not None:
        chosen = chosen.where(journal.c.kind == kind)
    names = named(connection)
    rows = connection.execute(chosen)
    return [dict(row._mapping) | {"actor": names.get(row.actor, row.actor)} for row in rows]
