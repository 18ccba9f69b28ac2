"""Long work as jobs: done here and now, or by a detached process that outlives this one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import journal
from workbench.config import SynthesizeConfig, TrainConfig, parse_config
from workbench.errors import InputError, LockedError, WorkbenchError
from workbench.files import remove
from workbench.jobs.job import OVER, Job, cancel, claim, enqueue, find, get, reopen
from workbench.jobs.worker import Work, new_worker, work_claimed, work_on
from workbench.progress import Progress, silent
from workbench.reports.verdict import VerdictRules
from workbench.roles import allowed, open_to_all
from workbench.state import writing
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.workflows.certify import Result
    from workbench.workflows.execute import Held, Outcome


@allowed("operate")
def run_job(workspace: Workspace, kind: str, config: Mapping[str, Any], progress: Progress = silent) -> dict[str, Any]:
    """Does a piece of long work in this process, as a job that others can watch and cancel."""
    return take_job(workspace, _enqueue(workspace, kind, config).id, progress)


@allowed("operate")
def detach_job(workspace: Workspace, kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Hands a piece of long work to a process of its own, which goes on when this one ends."""
    return _detach(workspace, _enqueue(workspace, kind, config))


@allowed("operate", "decide")
def erase_waiting(
    workspace: Workspace, progress: Progress = silent, *, first: Collection[str] = (), held: Held = "due"
) -> Outcome:
    """Does as `carry_out`, as a job where anything is to be carried out.

    A cancel stops it after the step at hand: its requests stay open, quarantined and resumable. What failed or was lost is
    tried again as the same job.
    """
    from workbench.workflows.execute import carry_out

    job = _reopen_erasures(workspace, patient=False, worker=new_worker(), held=held)
    if job is None:
        return carry_out(workspace, progress, first=first, held=held)
    outcomes: list[Outcome] = []

    def work(tell: Progress) -> dict[str, Any]:
        outcomes.append(carry_out(workspace, tell, first=first, held=held))
        return _listed(outcomes[0].results())  # a failure is the job's, too

    try:
        work_claimed(workspace.engine, job, work, progress)
    except (WorkbenchError, OSError):
        if not outcomes:
            raise
    return outcomes[0]


@allowed("operate", "decide")
def detach_erasures(workspace: Workspace) -> tuple[dict[str, Any] | None, list[str]]:
    """Hands what waits to a process of its own: the job, if there is anything to do, and the requests it will carry out."""
    job = _reopen_erasures(workspace, patient=True)
    return (None, []) if job is None else (_detach(workspace, job), list(job.config["requests"]))


@allowed("operate")
def take_job(workspace: Workspace, job_id: str, progress: Progress = silent) -> dict[str, Any]:
    """Works on a job that waits or whose worker died, in the name of whoever asked for it."""
    with workspace.engine.connect() as connection:
        job = get(connection, job_id)
    with journal.acting(job.actor):  # whoever asked for it, whatever process does it
        # made once the job is ours: of one that is over there is no config left
        done = dict(work_on(workspace.engine, job.id, lambda p: _work(workspace, job.kind, job.config)(p), progress))
        if job.kind == "erase":
            measure_again(workspace, [one["request"] for one in done["requests"]])
        return done


@allowed("operate")
def cancel_job(workspace: Workspace, job_id: str) -> dict[str, Any]:
    """Asks a job to stop."""
    with writing(workspace.engine) as connection:
        before = get(connection, job_id)
        after = cancel(connection, job_id)
    if after.status in OVER:  # nobody was at it, so nobody else takes its upload away
        _forget_upload(before.config)
    return _describe(after)


@open_to_all
def list_jobs(workspace: Workspace) -> dict[str, Any]:
    """All jobs, oldest first."""
    with workspace.engine.connect() as connection:
        return {"jobs": [_describe(job) for job in find(connection)]}


def _detach(workspace: Workspace, job: Job) -> dict[str, Any]:
    command = [sys.executable, "-m", "workbench", "--workspace", str(workspace.root), "jobs", "run", job.id]
    subprocess.Popen(
        command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return {"job": job.id, "kind": job.kind, "status": job.status}


def _reopen_erasures(
    workspace: Workspace, *, patient: bool, worker: str | None = None, held: Held = "due"
) -> Job | None:
    """The job of all that waits to be carried out, or None; its row names requests, and nobody.

    With a `worker` it is claimed at once, so that no other process comes between.
    """
    from workbench.erasure import saga
    from workbench.erasure.request import waiting
    from workbench.workflows.execute import held_to_try

    with writing(workspace.engine) as connection:
        unfinished = [*saga.in_the_way(connection), *held_to_try(connection, held)]
        begun = {request for erasure in unfinished for request in erasure.requests}
        due = sorted(begun.union(waiting(connection)))
        if not due:
            return None
        job = reopen(connection, "erase", {"requests": due, "patient": patient})
        return claim(connection, job.id, worker) if worker else job


def _enqueue(workspace: Workspace, kind: str, config: Mapping[str, Any]) -> Job:
    _work(workspace, kind, config)  # a config that can't be read is refused before there is a row
    with writing(workspace.engine) as connection:
        return enqueue(connection, kind, config)


def _work(workspace: Workspace, kind: str, config: Mapping[str, Any]) -> Work:
    makers: dict[str, Callable[[Workspace, Mapping[str, Any]], Work]] = {
        "advise": _advise,
        "demo": _demo,
        "erase": _erase,
        "evaluate": _evaluate,
        "ingest": _ingest,
        "measure": _measure,
        "synthesize": _synthesize,
        "train": _train,
    }
    if kind not in makers:
        raise InputError(f"no job is of kind {kind!r}", hint=f"kinds: {', '.join(makers)}")
    return makers[kind](workspace, config)


def _advise(workspace: Workspace, config: Mapping[str, Any]) -> Work:
    """Advice on shards, kept as what it is: an evaluation, which the next erasure sweeps."""
    from workbench.workflows.advise import advise_and_keep

    parsed = parse_config(dict(config), TrainConfig, source="the job")

    def work(progress: Progress) -> dict[str, Any]:
        return {"dataset": parsed.dataset, "evaluation": advise_and_keep(workspace, parsed, progress=progress)}

    return work


def _erase(workspace: Workspace, config: Mapping[str, Any]) -> Work:
    """Erases whatever waits; where nobody looks on, as late as the lock is free."""
    from workbench.workflows.execute import carry_out

    def work(progress: Progress) -> dict[str, Any]:
        done: dict[str, Result] = {}
        while True:
            outcome = carry_out(workspace, progress)
            done |= outcome.done
            if not config["patient"] or not any(isinstance(f.fault, LockedError) for f in outcome.failures):
                return _listed(done | outcome.results())
            progress(0.0, "waiting until nobody writes the data set")
            time.sleep(1)

    return work


def _listed(done: Mapping[str, Result]) -> dict[str, Any]:
    return {"requests": [{"request": request, **result} for request, result in done.items()]}


def _ingest(workspace: Workspace, config: Mapping[str, Any]) -> Work:
    from workbench.workflows.ingest import append, ingest
    from workbench.workflows.same_people import check_reason

    name, data, reason = config["name"], config["data"] and Path(config["data"]), config.get("same_people")
    check_reason(workspace, reason)  # before it stands in the job's row
    if config.get("append"):
        return lambda progress: append(workspace, name, data=data, same_people=reason, progress=progress)
    schema = config["schema"] and Path(config["schema"])

    def work(progress: Progress) -> dict[str, Any]:
        try:
            return ingest(workspace, name, schema=schema, data=data, same_people=reason, progress=progress)
        finally:
            _forget_upload(config)

    return work


def _demo(workspace: Workspace, config: Mapping[str, Any]) -> Work:  # noqa: ARG001 (there is nothing to choose)
    from workbench.workflows.demo import fill_with_demo

    return lambda progress: fill_with_demo(workspace, progress)


def _evaluate(workspace: Workspace, config: Mapping[str, Any]) -> Work:
    from workbench.workflows.evaluate import ROWS, Settings, evaluate

    name, dataset, given = str(config["name"]), config.get("dataset"), config.get("rules")
    settings = Settings(
        rows=int(config.get("rows") or ROWS), seed=int(config.get("seed") or 0), shadow=bool(config.get("shadow"))
    )
    rules = None if given is None else VerdictRules.model_validate(given)

    def work(progress: Progress) -> dict[str, Any]:
        found = evaluate(workspace, name, dataset=dataset, settings=settings, rules=rules, progress=progress)
        return {"dataset": found["dataset"], "evaluation": found["id"]}

    return work


def _measure(workspace: Workspace, config: Mapping[str, Any]) -> Work:
    """The quality figures of a release, measured again after an erasure purged them."""
    from workbench.workflows.measure_release import measure_release

    name = str(config["name"])
    return lambda progress: measure_release(workspace, name, progress)


@allowed("operate")
def measure_again(workspace: Workspace, request_ids: Collection[str] | None = None) -> list[str]:
    """Measure, a job each, the releases whose figures these erasures purged, or any; return those that have theirs again.

    What can't be measured now is left: `evaluate` or the app does it later.
    """
    from workbench.workflows.measure_release import without_figures

    done = []
    for release in without_figures(workspace, request_ids):
        with writing(workspace.engine) as connection:
            job = enqueue(connection, "measure", {"name": release})
        with suppress(WorkbenchError, OSError):
            take_job(workspace, job.id)
            done.append(release)
    return done


def _forget_upload(config: Mapping[str, Any]) -> None:
    """Removes a table that was uploaded for a job: nobody else has this copy."""
    if config.get("uploaded"):
        remove(Path(config["data"]).parent)


def _synthesize(workspace: Workspace, config: Mapping[str, Any]) -> Work:
    from workbench.workflows.synthesize import refuse_words, synthesize

    parsed = parse_config(dict(config), SynthesizeConfig, source="the job")
    refuse_words(workspace, parsed)  # before there is a row
    return lambda progress: synthesize(workspace, parsed, progress=progress)


def _train(workspace: Workspace, config: Mapping[str, Any]) -> Work:
    from workbench.workflows.train import refuse_words, train

    parsed = parse_config(dict(config), TrainConfig, source="the job")
    refuse_words(workspace, parsed)  # before there is a row
    return lambda progress: train(workspace, parsed, progress=progress)


def _describe(job: Job) -> dict[str, Any]:
    fields = ("kind", "status", "actor", "progress", "text", "created", "updated")
    shown = {key: getattr(job, key) for key in fields}
    told = {"detail": dict(job.detail), "result": dict(job.result)}
    return {"job": job.id, **shown, "lost": job.lost, "cancel": job.cancel, **told}
