"""Looking after erasure requests: listing, approving, denying, cancelling, and how a data set's are handled."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from workbench.config import read_config
from workbench.data import catalog
from workbench.data.store import SPLITS
from workbench.erasure.free_text import refuse_names
from workbench.erasure.locate import Subject
from workbench.erasure.policy import ErasurePolicy
from workbench.erasure.request import OPEN, approve, expedite, reason_of, subjects_of, withdraw
from workbench.errors import ForbiddenError, NotFoundError
from workbench.sisa.ensemble import Manifest
from workbench.state import journal, writing
from workbench.state.roles import allowed, may, open_to_all
from workbench.state.tables import datasets, requests
from workbench.state.workspace import Workspace
from workbench.workflows.erasure.accept_hit import held_hits
from workbench.workflows.erasure.results import (
    ApprovedRequest,
    DatasetPolicy,
    ExpeditedRequest,
    RequestDetails,
    Requests,
    RequestSummary,
    TimelineEntry,
    TouchedEnsemble,
    WithdrawnRequest,
)
from workbench.workflows.training.publish_version import current_versions, read_manifest


@open_to_all
def list_requests(workspace: Workspace) -> Requests:
    """All requests by id, oldest first, with their due dates; they name nobody."""
    with workspace.engine.connect() as connection:
        rows = connection.execute(select(requests).order_by(requests.c.received, requests.c.id)).all()
    return Requests(requests=tuple(_summary(workspace, row) for row in rows))


@open_to_all
def show_request(workspace: Workspace, request: str) -> RequestDetails:
    """One request: how it stands, what the journal says of it, and which shards of which ensembles it touches.

    It is for operators: a requester is told of no shard. Raises NotFoundError where there is none of that id.
    """
    with workspace.engine.connect() as connection:
        row = connection.execute(select(requests).where(requests.c.id == request)).one_or_none()
        if row is None:
            raise NotFoundError(f"no request {request!r} here", hint="workbench requests list")
        versions = current_versions(connection)
        subjects = [s for s in subjects_of(connection, [request]) if s.split == SPLITS[0]]
        entries = journal.about(connection, request)
    redone: dict[str, set[int]] = {}
    published: dict[str, int] = {}
    for entry in entries:
        if entry["kind"] == "PUBLISHED":
            ensemble = entry["body"]["ensemble"]
            redone.setdefault(ensemble, set()).update(entry["body"]["retrained"])
            published[ensemble] = entry["body"]["version"]
    return RequestDetails(
        **vars(_summary(workspace, row)),
        datasets=tuple(row.datasets),
        hits=held_hits(workspace, request),
        timeline=tuple(TimelineEntry(at=e["at"], kind=e["kind"], actor=e["actor"]) for e in entries),
        ensembles=tuple(
            _touched(read_manifest(workspace, artifact), subjects, redone.get(name, set()), published.get(name))
            for name, artifact in versions.items()
            if name in redone or (row.status != "completed" and artifact.dataset in row.datasets)
        ),
    )


def _touched(
    manifest: Manifest, subjects: Sequence[Subject], redone: Collection[int], published: int | None
) -> TouchedEnsemble:
    """The shards of an ensemble: under quarantine for these subjects, trained again for them, or neither.

    `version` is the one that the request's erasure published, or else the current one.
    """
    points = np.array([s.point for s in subjects if s.dataset == manifest.dataset], dtype=np.uint64)
    waiting = {int(shard) for shard in manifest.partition.shard_of(points)} if len(points) else set()
    return TouchedEnsemble(
        ensemble=manifest.ensemble,
        version=published or manifest.version,
        current_version=manifest.version,
        shards=len(manifest.constituents),
        waiting=tuple(sorted(waiting.difference(redone))),
        retrained=tuple(sorted(redone)),
    )


def _summary(workspace: Workspace, row: Any) -> RequestSummary:
    return RequestSummary(
        request=row.id,
        status=row.status,
        approval=row.approval,
        received=row.received,
        due=row.due,
        not_before=row.not_before if row.status == "quarantined" else None,
        overdue=row.status in OPEN and row.due < journal.now(),
        completed=row.completed,
        actor=row.actor,
        reason=reason_of(row),
        certificate=str(workspace.root / row.certificate) if row.certificate else None,
    )


@allowed("decide")
def approve_request(workspace: Workspace, request: str) -> ApprovedRequest:
    """Lets a request that waits for approval be carried out by the next erasure or worker."""
    approve(workspace, request)
    return ApprovedRequest(request=request)


@allowed("decide")
def release_request(workspace: Workspace, request: str) -> ExpeditedRequest:
    """Lets a request be carried out by the next erasure or worker, before its window ends."""
    expedite(workspace, request)
    return ExpeditedRequest(request=request)


@allowed("decide")
def deny_request(workspace: Workspace, request: str, reason: str) -> WithdrawnRequest:
    """Refuses a request that was not begun, and lifts its quarantine; raises InputError where the reason names somebody."""
    refuse_names(workspace, reason, "the reason")
    withdraw(workspace, request, status="denied", reason=reason)
    return WithdrawnRequest(request=request, status="denied")


@allowed("operate")
def cancel_request(workspace: Workspace, request: str) -> WithdrawnRequest:
    """Takes a request back that was not begun, and lifts its quarantine.

    Raises ForbiddenError where another person or system handed it in, and the role decides on no request.
    """
    _refuse_others(workspace, request)
    withdraw(workspace, request, status="cancelled", reason="cancelled")
    return WithdrawnRequest(request=request, status="cancelled")


def _refuse_others(workspace: Workspace, request: str) -> None:
    with workspace.engine.connect() as connection:
        row = connection.execute(select(requests).where(requests.c.id == request)).one_or_none()
        is_own = row is None or journal.is_actor(connection, row.actor)
    if not is_own and not may("decide"):
        raise ForbiddenError(
            f"request {request} was handed in by another person or system, who alone may take it back",
            hint="ask an approver to deny it: workbench requests deny",
        )


@allowed("administer")
def set_policy(workspace: Workspace, dataset: str, config: Path, overrides: list[str]) -> DatasetPolicy:
    """Declares how a data set's erasures are handled; requests already accepted keep what held for them."""
    policy = read_config(config, ErasurePolicy, overrides)
    with writing(workspace.engine) as connection:
        catalog.entry(connection, dataset)
        connection.execute(datasets.update().where(datasets.c.name == dataset).values(policy=policy.model_dump()))
        journal.append(connection, "POLICY", dataset=dataset, policy=policy.model_dump())
    return DatasetPolicy(dataset=dataset, policy=policy)
