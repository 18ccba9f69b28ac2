"""Reading the journal: what was done, by whom, and whether the chain of entries holds."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from workbench.state import journal
from workbench.state.roles import open_to_all
from workbench.state.tables import journal as entries
from workbench.state.workspace import Workspace
from workbench.workflows.controllers.callbacks import RULES
from workbench.workflows.operations.results import History, JournalEntry

MOST = 500


@open_to_all
def read_history(workspace: Workspace, *, kind: str | None = None, limit: int = MOST) -> History:
    """The last entries, newest first, of one kind or of all; which kinds there are; and where the chain breaks, if it does.

    The path of a file of certificates is the machine's own affair and left out: told is that there is one.
    """
    with workspace.engine.connect() as connection:
        return History(
            broken_at=journal.broken_at(connection),
            head=journal.head(connection),
            length=int(connection.execute(select(func.count()).select_from(entries)).scalar() or 0),
            kinds=tuple(sorted(connection.execute(select(entries.c.kind).distinct()).scalars())),
            entries=tuple(_shown(entry) for entry in journal.latest(connection, kind=kind, limit=limit)),
        )


def _shown(entry: dict[str, Any]) -> JournalEntry:
    if entry["kind"] != RULES:
        return JournalEntry(**entry)
    return JournalEntry(**{**entry, "body": {**entry["body"], "authorities": bool(entry["body"].get("authorities"))}})
