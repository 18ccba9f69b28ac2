"""What a workspace keeps, how much of it there is now, and until when: told as it is, of every store that lasts."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Table, func, select

from workbench.state import lineage, tables
from workbench.state.roles import open_to_all
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.uploads import UPLOADS
from workbench.workflows.operations.results import RetainedData

_ERASURE = "rows of its data set are erased or added"
# what is kept, whom it may tell of, until when; and the table that it lies in
_TABLES: tuple[tuple[str, str, str, Table], ...] = (
    (
        "Audit log",
        "requests by id, and who did what",
        "always: a chain that loses an entry proves nothing",
        tables.journal,
    ),
    (
        "Names of those who act",
        "who acts, until the name is withheld at their erasure",
        "always: the audit log refers to them",
        tables.actors,
    ),
    ("Privacy ledger", "nobody", "always: what was spent never comes back", tables.charges),
    ("Requests", "nobody: an id and a commitment", "always", tables.requests),
    ("Whom open requests concern", "the person, sealed", "the request ends: the key is destroyed first", tables.vault),
    (
        "Tokens of erased people",
        "the person, by a keyed token",
        "always, where the policy recognises them",
        tables.suppressions,
    ),
    (
        "Statements about budgets and people",
        "whom a reason names, until it is withheld at their erasure",
        "always: they are shown beside the budget",
        tables.statements,
    ),
    ("Jobs", "ids of what was made", "always", tables.jobs),
    ("Answers to repeated calls", "nobody: keyed hashes", "a day", tables.answers),
    ("Callbacks that are not delivered", "the controller, sealed", "19 tries, about two days", tables.callbacks),
    ("Tokens of callers", "nobody: keyed hashes", "always; they expire", tables.tokens),
)


@open_to_all
def retention(workspace: Workspace) -> tuple[RetainedData, ...]:
    """What is kept: of whom it may tell, until when, and how many there are now."""
    with workspace.engine.connect() as connection:
        rows = [_row(what, tells, until, _count(connection, table)) for what, tells, until, table in _TABLES]
        evaluations = len(lineage.find(connection, kind="evaluation"))
    return (
        *rows,
        _row("Evaluations, advice and audits", "everybody, as figures", _ERASURE, evaluations),
        _row("Uploads", "everybody in them", "their job is over", _files(workspace.root / UPLOADS)),
        _row("Certificates", "nobody: a commitment", "always", _files(workspace.root / "certificates")),
        _row(
            "Log of the api", "nobody", "newer lines push it out: five files of 5 MB", _files(workspace.root / "logs")
        ),
    )


def _row(what: str, tells: str, until: str, now: int) -> RetainedData:
    return RetainedData(what=what, tells=tells, until=until, now=now)


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*")) if folder.is_dir() else 0
