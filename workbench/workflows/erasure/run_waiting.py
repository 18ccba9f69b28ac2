"""Carry out the erasures that wait, as one job: here and now, or in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from workbench.erasure import saga
from workbench.erasure.request import waiting
from workbench.errors import LockedError, WorkbenchError
from workbench.jobs.detached import detach
from workbench.jobs.job import Job, claim, reopen
from workbench.jobs.worker import Work, new_worker, work_claimed
from workbench.progress import Progress, silent
from workbench.state import writing
from workbench.state.roles import allowed, internal
from workbench.state.workspace import Workspace
from workbench.workflows.erasure.execute import Held, Outcome, carry_out, held_to_try
from workbench.workflows.erasure.results import DetachedJob, ErasedRequest, ErasedRequests


@allowed("operate", "decide")
def erase_waiting(
    workspace: Workspace, progress: Progress = silent, *, first: Collection[str] = (), held: Held = "due"
) -> Outcome:
    """Do as `carry_out`, as a job where anything is to be carried out.

    A cancel stops it after the current step: its requests stay open, quarantined and resumable. What failed or was lost is
    tried again as the same job.
    """
    job = job_of_waiting(workspace, patient=False, worker=new_worker(), held=held)
    if job is None:
        return carry_out(workspace, progress, first=first, held=held)
    outcomes: list[Outcome] = []

    def work(tell: Progress) -> ErasedRequests:
        outcomes.append(carry_out(workspace, tell, first=first, held=held))
        return _listed(outcomes[0].results())  # a failure is the job's, too

    try:
        work_claimed(workspace.engine, job, work, progress)
    except (WorkbenchError, OSError):
        if not outcomes:
            raise
    return outcomes[0]


@allowed("operate", "decide")
def detach_erasures(workspace: Workspace) -> tuple[DetachedJob | None, list[str]]:
    """Hand what waits to a process of its own: the job, if there is anything to do, and the requests it will carry out."""
    job = job_of_waiting(workspace, patient=True)
    if job is None:
        return None, []
    detach(workspace.root, job)
    return DetachedJob.of(job), list(job.config["requests"])


@internal
def job_of_waiting(workspace: Workspace, *, patient: bool, worker: str | None = None, held: Held = "due") -> Job | None:
    """Return the job of all that waits to be carried out, or None; its row names requests, and no person.

    With a `worker` it is claimed at once, so that no other process comes between.
    """
    with writing(workspace.engine) as connection:
        unfinished = [*saga.in_the_way(connection), *held_to_try(connection, held)]
        begun = {request for erasure in unfinished for request in erasure.requests}
        due = sorted(begun.union(waiting(connection)))
        if not due:
            return None
        job = reopen(connection, "erase", {"requests": due, "patient": patient})
        return claim(connection, job.id, worker) if worker else job


@internal
def work_of(workspace: Workspace, *, patient: bool) -> Work:
    """Return the work of such a job; a patient one waits until the locks of the data sets are free."""

    def work(progress: Progress) -> ErasedRequests:
        done: dict[str, ErasedRequest] = {}
        while True:
            outcome = carry_out(workspace, progress)
            done |= outcome.done
            if not patient or not any(isinstance(f.fault, LockedError) for f in outcome.failures):
                return _listed(done | outcome.results())
            progress(0.0, "waiting until nobody writes the data set")
            time.sleep(1)

    return work


def _listed(done: Mapping[str, ErasedRequest]) -> ErasedRequests:
    return ErasedRequests(requests=tuple(done.values()))
