"""Long work as jobs: done here and now, or by a detached process that outlives this one.

Erasures are no jobs: they are durable by themselves, and their byte scan must not share a process with a heartbeat, because
closing a database file that was opened for reading drops the locks SQLite holds on it in the same process.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.config import SynthesizeConfig, TrainConfig, parse_config
from workbench.errors import InputError
from workbench.jobs.job import Job, cancel, enqueue, find, get
from workbench.jobs.worker import Work, work_on
from workbench.progress import Progress, silent
from workbench.state import writing
from workbench.workspace import Workspace


def run_job(workspace: Workspace, kind: str, config: Mapping[str, Any], progress: Progress = silent) -> dict[str, Any]:
    """Does a piece of long work in this process, as a job that others can watch and cancel."""
    job_id = _enqueue(workspace, kind, config).id
    return dict(work_on(workspace.engine, job_id, _work(workspace, kind, config), progress))


def detach_job(workspace: Workspace, kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Hands a piece of long work to a process of its own, which goes on when this one ends."""
    job = _enqueue(workspace, kind, config)
    command = [sys.executable, "-m", "workbench", "--workspace", str(workspace.root), "jobs", "run", job.id]
    subprocess.Popen(
        command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return {"job": job.id, "kind": kind, "status": job.status}


def take_job(workspace: Workspace, job_id: str, progress: Progress = silent) -> dict[str, Any]:
    """Works on a job that waits or whose worker died."""
    with workspace.engine.connect() as connection:
        job = get(connection, job_id)
    return dict(work_on(workspace.engine, job.id, _work(workspace, job.kind, job.config), progress))


def cancel_job(workspace: Workspace, job_id: str) -> dict[str, Any]:
    """Asks a job to stop."""
    with writing(workspace.engine) as connection:
        return _describe(cancel(connection, job_id))


def list_jobs(workspace: Workspace) -> dict[str, Any]:
    """All jobs, oldest first."""
    with workspace.engine.connect() as connection:
        return {"jobs": [_describe(job) for job in find(connection)]}


def _enqueue(workspace: Workspace, kind: str, config: Mapping[str, Any]) -> Job:
    _work(workspace, kind, config)  # a config that can't be read is refused before there is a row
    with writing(workspace.engine) as connection:
        return enqueue(connection, kind, config)


def _work(workspace: Workspace, kind: str, config: Mapping[str, Any]) -> Work:
    makers: dict[str, Callable[[Workspace, Mapping[str, Any]], Work]] = {
        "ingest": _ingest,
        "synthesize": _synthesize,
        "train": _train,
    }
    if kind not in makers:
        raise InputError(f"no job is of kind {kind!r}", hint=f"kinds: {', '.join(makers)}")
    return makers[kind](workspace, config)


def _ingest(workspace: Workspace, config: Mapping[str, Any]) -> Work:
    from workbench.workflows.ingest import ingest

    paths = {key: Path(config[key]) if config[key] else None for key in ("schema", "data")}
    return lambda progress: ingest(workspace, config["name"], **paths, progress=progress)


def _synthesize(workspace: Workspace, config: Mapping[str, Any]) -> Work:
    from workbench.workflows.synthesize import synthesize

    parsed = parse_config(dict(config), SynthesizeConfig, source="the job")
    return lambda progress: synthesize(workspace, parsed, progress=progress)


def _train(workspace: Workspace, config: Mapping[str, Any]) -> Work:
    from workbench.workflows.train import train

    parsed = parse_config(dict(config), TrainConfig, source="the job")
    return lambda progress: train(workspace, parsed, progress=progress)


def _describe(job: Job) -> dict[str, Any]:
    fields = ("kind", "status", "actor", "progress", "text", "created", "updated")
    shown = {key: getattr(job, key) for key in fields}
    return {"job": job.id, **shown, "lost": job.lost, "cancel": job.cancel, "result": dict(job.result)}
