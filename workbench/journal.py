"""An append-only, hash-chained log of what was done to the workspace and by whom.

Each entry's digest covers its content and the digest before it, so an edit anywhere breaks every later link.
An entry names a person only by a request id.
"""

from __future__ import annotations

import datetime as dt
import getpass
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Connection, String, cast, select

from workbench.files import sha256
from workbench.state.tables import journal

GENESIS = "0" * 64
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


def _link(sequence: int, at: str, who: str, kind: str, body: Any, previous: str) -> str:
    return sha256(json.dumps([sequence, at, who, kind, body, previous], sort_keys=True).encode())


def append(connection: Connection, kind: str, **body: Any) -> str:
    """Adds an entry inside the caller's write transaction; returns its digest, the new head of the chain."""
    return append_each(connection, kind, [body])


def append_each(connection: Connection, kind: str, bodies: Sequence[dict[str, Any]]) -> str:
    """Adds an entry per body, in their order, as `append` does; many at once hold the write lock for a moment only."""
    last = connection.execute(select(journal).order_by(journal.c.sequence.desc()).limit(1)).one_or_none()
    before, digest = (last.sequence, last.digest) if last else (0, GENESIS)
    at, who = now(), actor()
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
    rows = connection.execute(select(journal).order_by(journal.c.sequence))
    named = (row for row in rows if request == row.body.get("request") or request in row.body.get("requests", ()))
    return [{"at": row.at, "actor": row.actor, "kind": row.kind, "body": row.body} for row in named]


def latest(connection: Connection, *, kind: str | None = None, limit: int = 500) -> list[dict[str, Any]]:
    """The last entries, newest first."""
    chosen = select(journal).order_by(journal.c.sequence.desc()).limit(limit)
    if kind is not None:
        chosen = chosen.where(journal.c.kind == kind)
    return [dict(row._mapping) for row in connection.execute(chosen)]
