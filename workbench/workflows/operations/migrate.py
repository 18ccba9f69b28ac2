"""Bringing a workspace of an older release to this one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import select

from workbench.data import catalog
from workbench.erasure import saga
from workbench.errors import NotFoundError
from workbench.state import HEAD, has_tables, journal, upgrading
from workbench.state.roles import allowed
from workbench.state.tables import appends
from workbench.state.workspace import Workspace, refuse_maimed
from workbench.tracking import Tracking, upgrade
from workbench.workflows.datasets.rewrite_records import REWRITTEN, rewrite_records
from workbench.workflows.operations.initialise import initialise
from workbench.workflows.operations.results import Migration, Revisions
from workbench.workflows.synthesis.release_files import has_private_fit


@allowed("administer")
def migrate(root: Path) -> Migration:
    """Upgrades the database of the workspace at `root`, its tracking store and its records; says from which revision to which.

    - Each of them changes wholly or not at all, data set by data set, and the same again changes nothing: killed in between,
      it is given again.
    - Nobody writes meanwhile: it holds the lock of every data set, and the database's own.
    Raises NotFoundError where there is no workspace; InputError for one of a newer release, one that lost a key, or a database
    of somebody else; BusyError while another writes.
    """
    workspace = Workspace(root.resolve())
    refuse_maimed(workspace.root)
    database = workspace.root / "state.db"
    if not has_tables(database):
        raise NotFoundError(f"{workspace.root} is not a workspace", hint="workbench init makes one")
    with _unwritten(workspace):
        with upgrading(database) as (connection, before):
            if before != HEAD:
                journal.append(connection, "MIGRATED", before=before, after=HEAD)
        initialise(workspace.root)  # folders, and a tracking store, that an older release did not have
        was, now = upgrade(Tracking(workspace.root))
        with workspace.engine.connect() as connection:
            names = catalog.names(connection)
        records = {name: rewrite_records(workspace, name, obstacle=_obstacle(workspace, name)) for name in names}
    return Migration(
        workspace=str(workspace.root),
        database=Revisions(before=before, after=HEAD),
        tracking=Revisions(before=was, after=now),
        records={name: state for name, state in records.items() if state is not None},
        changed=(before, was) != (HEAD, now) or REWRITTEN in records.values(),
    )


@contextmanager
def _unwritten(workspace: Workspace) -> Iterator[None]:
    """Holds the lock of every data set that was ever written; raises LockedError where one is being written."""
    with ExitStack() as held:
        for path in sorted((workspace.root / "locks").glob("*.lock")):
            held.enter_context(workspace.lock(path.stem))
        yield


def _obstacle(workspace: Workspace, name: str) -> str | None:
    """Return what names buckets by their old numbers or records by their old digests still; None where nothing does."""
    with workspace.engine.connect() as connection:
        append = connection.execute(select(appends.c.dataset).where(appends.c.dataset == name)).one_or_none()
        erasures = [erasure for erasure in saga.in_the_way(connection) if name in erasure.datasets]
    if append is not None:
        return "kept as it is: an append is not finished; workbench resume, then migrate again"
    if erasures:
        return "kept as it is: an erasure is not finished; workbench resume, then migrate again"
    if has_private_fit(workspace, name):
        return "kept as it is: a fit that was cut off and is paid for goes on from these files; migrate after it"
    return None
