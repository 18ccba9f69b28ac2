"""Looking after erasure requests: listing, approving, denying, cancelling, and how a data set's are handled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select

from workbench import journal
from workbench.config import read_config
from workbench.data import catalog
from workbench.erasure.policy import ErasurePolicy
from workbench.erasure.request import OPEN, approve, reason_of, release, withdraw
from workbench.state import writing
from workbench.state.tables import datasets, requests
from workbench.workspace import Workspace


def list_requests(workspace: Workspace) -> dict[str, Any]:
    """All requests by id, oldest first, with their due dates; they name nobody."""
    with workspace.engine.connect() as connection:
        rows = connection.execute(select(requests).order_by(requests.c.received, requests.c.id)).all()
    return {
        "requests": [
            {
                "request": row.id,
                "status": row.status,
                "approval": row.approval,
                "received": row.received,
                "due": row.due,
                "not_before": row.not_before if row.status == "quarantined" else None,
                "overdue": row.status in OPEN and row.due < journal.now(),
                "completed": row.completed,
                "actor": row.actor,
                "reason": reason_of(row),
                "certificate": str(workspace.root / row.certificate) if row.certificate else None,
            }
            for row in rows
        ]
    }


def approve_request(workspace: Workspace, request: str) -> dict[str, Any]:
    """Lets a request that waits for approval be carried out by the next erasure or worker."""
    approve(workspace, request)
    return {"request": request, "approval": "given"}


def release_request(workspace: Workspace, request: str) -> dict[str, Any]:
    """Lets a request be carried out by the next erasure or worker, before its window ends."""
    release(workspace, request)
    return {"request": request, "not_before": None}


def deny_request(workspace: Workspace, request: str, reason: str) -> dict[str, Any]:
    """Refuses a request that was not begun, and lifts its quarantine."""
    withdraw(workspace, request, status="denied", reason=reason)
    return {"request": request, "status": "denied"}


def cancel_request(workspace: Workspace, request: str) -> dict[str, Any]:
    """Takes a request back that was not begun, and lifts its quarantine."""
    withdraw(workspace, request, status="cancelled", reason="cancelled")
    return {"request": request, "status": "cancelled"}


def set_policy(workspace: Workspace, dataset: str, config: Path, overrides: list[str]) -> dict[str, Any]:
    """Declares how a data set's erasures are handled; requests already accepted keep what held for them."""
    policy = read_config(config, ErasurePolicy, overrides)
    with writing(workspace.engine) as connection:
        catalog.entry(connection, dataset)
        connection.execute(datasets.update().where(datasets.c.name == dataset).values(policy=policy.model_dump()))
        journal.append(connection, "POLICY", dataset=dataset, policy=policy.model_dump())
    return {"dataset": dataset, "policy": policy.model_dump()}
