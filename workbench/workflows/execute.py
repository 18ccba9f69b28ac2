"""Carrying erasures out: what was interrupted first, then all that waits, planned together."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from sqlalchemy import select

from workbench import lineage
from workbench.data import catalog
from workbench.erasure import saga
from workbench.erasure.limits import affordable
from workbench.erasure.plan import ErasurePlan, plan
from workbench.erasure.policy import ErasurePolicy
from workbench.erasure.request import Subject, advance, subjects_of, waiting
from workbench.erasure.saga import Erasure
from workbench.errors import WorkbenchError
from workbench.progress import Progress, silent
from workbench.state import writing
from workbench.state.tables import requests
from workbench.workflows.append import finish_append, finish_appends
from workbench.workflows.certify import Result, certify
from workbench.workflows.publish import (
    current_versions,
    read_manifest,
)
from workbench.workflows.steps import STEPS
from workbench.workspace import Workspace


def carry_out_waiting(workspace: Workspace, progress: Progress = silent) -> dict[str, Result]:
    """Finishes erasures that were interrupted, then carries out all requests that wait, planned together.

    Returns what was done by request id. Raises BusyError where another process is writing one of the data sets.
    """
    results = resume(workspace, progress)
    with workspace.engine.connect() as connection:
        datasets = {subject.dataset for subject in subjects_of(connection, waiting(connection))}
    with _locked(workspace, datasets):
        erasure = _begin(workspace, datasets)
        return results | (_carry_out(workspace, erasure, progress) if erasure else {})


def resume(workspace: Workspace, progress: Progress = silent) -> dict[str, Result]:
    """Finishes what was interrupted: appends, and erasures from their last finished step; returns those by request id."""
    finish_appends(workspace)
    results: dict[str, Result] = {}
    with workspace.engine.connect() as connection:
        begun = saga.unfinished(connection)
    for erasure in begun:
        with _locked(workspace, erasure.datasets):
            with workspace.engine.connect() as connection:  # again: someone else may have gone on with it
                current = next((e for e in saga.unfinished(connection) if e.id == erasure.id), None)
            if current is not None:
                results |= _carry_out(workspace, current, progress)
    return results


@contextmanager
def _locked(workspace: Workspace, datasets: Iterable[str]) -> Iterator[None]:
    with ExitStack() as locks:
        for dataset in sorted(datasets):
            locks.enter_context(workspace.lock(dataset))
            finish_append(workspace, dataset)
        yield


def plans_for(workspace: Workspace, subjects: Sequence[Subject]) -> list[ErasurePlan]:
    """The plan of each data set that the subjects are in."""
    plans = []
    for dataset in sorted({subject.dataset for subject in subjects}):
        with workspace.engine.connect() as connection:
            artifacts = lineage.find(connection, dataset=dataset)
            manifests = [read_manifest(workspace, a) for a in current_versions(connection, dataset).values()]
            policy = ErasurePolicy.model_validate(catalog.entry(connection, dataset).policy)
        plans.append(plan(dataset, [s for s in subjects if s.dataset == dataset], manifests, artifacts, policy))
    return plans


def _begin(workspace: Workspace, datasets: set[str]) -> Erasure | None:
    """Plans the requests that wait in these data sets alone, and makes the plan durable.

    All in one write transaction, so that nobody withdraws a request between its planning and its beginning.
    """
    with writing(workspace.engine) as connection:
        subjects = subjects_of(connection, waiting(connection))
        outside = {subject.request for subject in subjects if subject.dataset not in datasets}  # accepted a moment ago
        subjects = [subject for subject in subjects if subject.request not in outside]
        subjects = affordable(connection, subjects, partial(plans_for, workspace))
        if not subjects:
            return None
        erasure = Erasure(
            id=f"erasure-{secrets.token_hex(6)}",
            step="planned",
            requests=tuple(sorted({subject.request for subject in subjects})),
            datasets={p.dataset: saga.dataset_state(p) for p in plans_for(workspace, subjects)},
            started=time.time(),
        )
        saga.create(connection, erasure)
        advance(connection, erasure.requests, "planned")
    return erasure


def _carry_out(workspace: Workspace, erasure: Erasure, progress: Progress) -> dict[str, Result]:
    """Runs every step that is left. A fault leaves the requests `failed`, quarantined and resumable."""
    try:
        workspace.clear()
        while erasure.step != "shredded":
            target, step = STEPS[erasure.step]
            after, commit = step(workspace, erasure, progress)
            erasure = after.model_copy(update={"step": target})
            with writing(workspace.engine) as connection:
                commit(connection)
                saga.save(connection, erasure)
        return certify(workspace, erasure)
    except (WorkbenchError, OSError) as fault:
        # What is at fault may be that nothing can be written; then the requests stay as they are, resumable too
        with suppress(WorkbenchError, OSError), writing(workspace.engine) as connection:
            over = set(connection.execute(select(requests.c.id).where(requests.c.status == "completed")).scalars())
            advance(connection, set(erasure.requests) - over, "failed", reason=getattr(fault, "code", "file"))
        raise
