"""Working on a job: a heartbeat beside the work, and a cancel that arrives with the next report of progress."""

from __future__ import annotations

import os
import platform
import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from sqlalchemy import Engine

from workbench.errors import BusyError, WorkbenchError
from workbench.jobs.detail import Look, listening, seen
from workbench.jobs.job import LEASE_SECONDS, Job, beat, claim, enqueue, finish
from workbench.progress import Progress
from workbench.state import journal, writing

BEAT_SECONDS = LEASE_SECONDS / 30  # how soon a cancel is noticed


class HasJson(Protocol):
    """A result that has a JSON form."""

    def to_json(self) -> Mapping[str, Any]:
        """Return the result as JSON."""


JobResult = Mapping[str, Any] | HasJson
Made = TypeVar("Made", bound=JobResult)
Work = Callable[[Progress], JobResult]


class CancelledError(BusyError):
    """The job was asked to stop; what it had begun was taken back, or can be resumed."""

    code = "cancelled"


def work_on(engine: Engine, job_id: str, work: Callable[[Progress], Made], progress: Progress) -> Made:
    """Claims a job and does its work as `work_claimed` does."""
    with writing(engine) as connection:
        job = claim(connection, job_id, new_worker())
    return work_claimed(engine, job, work, progress)


def new_worker() -> str:
    """A name for whoever is about to claim a job."""
    return f"{platform.node()}:{os.getpid()}:{secrets.token_hex(4)}"


def as_job(
    engine: Engine, kind: str, config: Mapping[str, Any], work: Callable[[Progress], Made], progress: Progress
) -> Made:
    """Does work as a job that others can see and cancel; as a part of the job that this thread is at, where it is at one."""
    if journal.job() is not None:
        return work(progress)
    with writing(engine) as connection:
        job = claim(connection, enqueue(connection, kind, config).id, new_worker())
    return work_claimed(engine, job, work, progress)


def work_claimed(engine: Engine, job: Job, work: Callable[[Progress], Made], progress: Progress) -> Made:
    """Does the work of a job that was just claimed and records how it ended; returns what the work returned.

    `work` takes back what it began, or leaves it resumable, when an exception ends it. The row gets the kind of a fault,
    never its text; where even that can't be written it is left as a dead worker's.
    """
    worker = str(job.worker)
    pulse = _Pulse(engine, job, worker, progress)
    status: str = "failed"
    result: Mapping[str, Any] = {}
    try:
        with pulse, listening(pulse.looks), journal.working(f"{job.id} ({job.kind})"):
            answer = work(pulse.report)
        status, result = "done", _ids(answer)
        return answer
    except CancelledError:
        status = "cancelled"
        raise
    except WorkbenchError as fault:
        result = {"error": fault.code}
        raise
    except BaseException as fault:
        result = {"error": type(fault).__name__}
        raise
    finally:
        with suppress(WorkbenchError, OSError), writing(engine) as connection:
            finish(connection, job.id, worker, status, result)


def json_of(result: JobResult) -> Mapping[str, Any]:
    """Return a job's result as JSON."""
    return result if isinstance(result, Mapping) else result.to_json()


def _ids(answer: JobResult) -> dict[str, Any]:
    """The parts of an answer that may be kept: ids of what was made."""
    answer = json_of(answer)
    kept = ("dataset", "generator", "release", "ensemble", "version", "evaluation")
    ids = {key: answer[key] for key in kept if key in answer}
    return ids | ({"requests": [one["request"] for one in answer["requests"]]} if "requests" in answer else {})


class _Pulse:
    """The heartbeat thread, and the progress function that the work is given."""

    def __init__(self, engine: Engine, job: Job, worker: str, progress: Progress) -> None:
        self._engine, self._job, self._worker, self._progress = engine, job, worker, progress
        self._latest = (0.0, "")
        self.looks: dict[str, Look] = {}
        self._fault: WorkbenchError | OSError | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def report(self, fraction: float, text: str) -> None:
        """Shows progress; raises where the job was cancelled or lost meanwhile."""
        self._latest = (fraction, text)
        self._progress(fraction, text)
        if self._fault is not None:
            raise self._fault

    def __enter__(self) -> None:
        self._beat()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(BEAT_SECONDS) and self._fault is None:
            self._beat()

    def _beat(self) -> None:
        fraction, text = self._latest
        detail: dict[str, Any] = {}
        with suppress(Exception):  # what is there to be looked at only must not end the lease
            detail = seen(self.looks)
        try:
            with writing(self._engine) as connection:
                stop = beat(connection, self._job.id, self._worker, progress=fraction, text=text, detail=detail)
        except (WorkbenchError, OSError) as fault:
            self._fault = fault
            return
        if stop:
            self._fault = CancelledError(f"job {self._job.id} was cancelled")
