"""A job's row: who asked for what, who works on it, how far it is, and whether someone wants it stopped.

A worker holds a job by a lease that its heartbeat prolongs. When the lease runs out the worker is taken for dead, and
another may claim the job; the first then finds that it lost it. A row names no person and holds no result but ids; `detail`
is numbers that lie behind the progress of work that goes on.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, text

from workbench.errors import BusyError, InputError, NotFoundError
from workbench.state import journal
from workbench.state.tables import jobs

LEASE_SECONDS = 30.0
OVER = ("done", "failed", "cancelled")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as its row says: waiting, running, done, failed or cancelled; `progress` in [0, 1]."""

    id: str
    kind: str
    config: Mapping[str, Any]
    status: str
    actor: str
    worker: str | None
    lease_until: float
    cancel: bool
    progress: float
    text: str
    detail: Mapping[str, Any]
    result: Mapping[str, Any]
    created: str
    updated: str

    @property
    def lost(self) -> bool:
        """Whether its worker is taken for dead. A lease that ends later than one given now is of before a restart."""
        return self.status == "running" and not 0 <= self.lease_until - _now() <= LEASE_SECONDS


def enqueue(connection: Connection, kind: str, config: Mapping[str, Any]) -> Job:
    """Adds a waiting job, in the caller's write transaction."""
    job = Job(
        id=f"job-{secrets.token_hex(6)}",
        kind=kind,
        config=dict(config),
        status="waiting",
        actor=journal.actor(),
        worker=None,
        lease_until=0.0,
        cancel=False,
        progress=0.0,
        text="",
        detail={},
        result={},
        created=journal.now(),
        updated=journal.now(),
    )
    connection.execute(jobs.insert().values(**job.__dict__))
    return job


def reopen(connection: Connection, kind: str, config: Mapping[str, Any]) -> Job:
    """The last job of that kind, waiting again, where it came to no end and nobody is at it; else a new one.

    For work that is one and the same however often it is tried; in the caller's write transaction.
    """
    last = next((job for job in reversed(find(connection)) if job.kind == kind), None)
    if last is None or not (last.status in ("waiting", "failed") or last.lost):
        return enqueue(connection, kind, config)
    again = {"status": "waiting", "cancel": False, "progress": 0.0, "text": "", "detail": {}, "result": {}}
    _update(connection, last.id, **again, config=dict(config))
    return get(connection, last.id)


def claim(connection: Connection, job_id: str, worker: str) -> Job:
    """Takes a waiting or lost job for a worker; raises BusyError where another has it, InputError where it is over."""
    job = get(connection, job_id)
    if job.status in OVER:
        raise InputError(f"job {job_id} is {job.status} already")
    if job.status == "running" and not job.lost:
        raise BusyError(f"job {job_id} is being worked on", hint="wait for it, or cancel it")
    _update(connection, job_id, status="running", worker=worker, lease_until=_now() + LEASE_SECONDS, detail={})
    return get(connection, job_id)


def beat(
    connection: Connection,
    job_id: str,
    worker: str,
    *,
    progress: float,
    text: str,
    detail: Mapping[str, Any] | None = None,
) -> bool:
    """Prolongs the lease and says how far it is; returns whether the job should stop. Raises BusyError if it was lost."""
    job = get(connection, job_id)
    if job.worker != worker or job.status != "running":
        raise BusyError(f"job {job_id} was taken over by another worker")
    told = {"progress": progress, "text": text, "detail": dict(detail or {})}
    _update(connection, job_id, lease_until=_now() + LEASE_SECONDS, **told)
    return job.cancel


def finish(connection: Connection, job_id: str, worker: str, status: str, result: Mapping[str, Any]) -> None:
    """Ends a job, unless it was lost to another worker. Its config goes: the path of a file may name a person."""
    mine = (jobs.c.id == job_id) & (jobs.c.worker == worker)
    ended = {"status": status, "result": dict(result), "updated": journal.now()}
    values = {**ended, "lease_until": 0.0, "config": {}, "detail": {}}
    if status == "done":
        values["progress"] = 1.0
    connection.execute(jobs.update().where(mine).values(**values))


def cancel(connection: Connection, job_id: str) -> Job:
    """Asks a job to stop: at once where nobody works on it, else at its worker's next step."""
    job = get(connection, job_id)
    if job.status in OVER:
        raise InputError(f"job {job_id} is {job.status} already")
    idle = job.status == "waiting" or job.lost
    _update(connection, job_id, cancel=True, **({"status": "cancelled", "config": {}, "detail": {}} if idle else {}))
    return get(connection, job_id)


def abandon(connection: Connection, job: Job) -> None:
    """Ends a job that nobody is at, and forgets what it was to do; one that is being worked on is left to its worker."""
    if job.status == "waiting" or job.lost:
        _update(connection, job.id, status="failed", config={}, detail={}, lease_until=0.0)


def get(connection: Connection, job_id: str) -> Job:
    """A job by id; raises NotFoundError where there is none."""
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"no job {job_id!r} here", hint="workbench jobs list")
    return Job(**row._mapping)


def find(connection: Connection) -> list[Job]:
    """All jobs, oldest first."""
    return [Job(**row._mapping) for row in connection.execute(select(jobs).order_by(jobs.c.created, text("rowid")))]


def _now() -> float:
    """Seconds that every process of this machine counts alike, and that nobody can set back or forward."""
    return time.monotonic()


def _update(connection: Connection, job_id: str, **values: Any) -> None:
    connection.execute(jobs.update().where(jobs.c.id == job_id).values(**values, updated=journal.now()))
