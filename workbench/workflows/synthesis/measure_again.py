"""Measure the figures of releases again that an erasure purged, a job each."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from functools import partial

from workbench.errors import WorkbenchError
from workbench.jobs.job import enqueue
from workbench.jobs.worker import work_on
from workbench.progress import silent
from workbench.state import writing
from workbench.state.roles import allowed
from workbench.state.workspace import Workspace
from workbench.workflows.synthesis.measure_release import measure_release, without_figures


@allowed("operate")
def measure_again(workspace: Workspace, request_ids: Collection[str] | None = None) -> list[str]:
    """Measure the releases whose figures these erasures purged, or any; return those that have theirs again.

    What can't be measured now is left: `evaluate` or the app does it later.
    """
    done = []
    for release in without_figures(workspace, request_ids):
        with writing(workspace.engine) as connection:
            job = enqueue(connection, "measure", {"name": release})
        with suppress(WorkbenchError, OSError):
            work_on(workspace.engine, job.id, partial(measure_release, workspace, release), silent)
            done.append(release)
    return done
