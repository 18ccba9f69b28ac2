"""Listing erasure requests."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from workbench.state.tables import requests
from workbench.workspace import Workspace


def list_requests(workspace: Workspace) -> dict[str, Any]:
    """All accepted requests by id, oldest first; they name nobody."""
    with workspace.engine.connect() as connection:
        rows = connection.execute(select(requests).order_by(requests.c.received, requests.c.id)).all()
    return {
        "requests": [
            {
                "request": row.id,
                "status": row.status,
                "received": row.received,
                "completed": row.completed,
                "certificate": str(workspace.root / row.certificate) if row.certificate else None,
            }
            for row in rows
        ]
    }
