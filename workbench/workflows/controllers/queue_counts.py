"""How much is waiting: numbers of requests and callbacks, for whoever watches the server."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import func, select

from workbench.erasure.request import OPEN
from workbench.state import journal
from workbench.state.roles import open_to_all
from workbench.state.tables import callbacks, requests
from workbench.state.workspace import Workspace


@open_to_all
def counts(workspace: Workspace) -> Mapping[str, Mapping[str, int]]:
    """The number of requests by status, of overdue ones, and of callbacks that are kept."""
    late = requests.c.status.in_(OPEN) & (requests.c.due < journal.now())
    with workspace.engine.connect() as connection:
        grouped = connection.execute(select(requests.c.status, func.count()).group_by(requests.c.status)).all()
        overdue = connection.execute(select(func.count()).select_from(requests).where(late)).scalar()
        kept = connection.execute(select(func.count()).select_from(callbacks)).scalar()
    return {
        "requests": {status: int(number) for status, number in grouped},
        "overdue": {"requests": int(overdue or 0)},
        "callbacks": {"kept": int(kept or 0)},
    }
