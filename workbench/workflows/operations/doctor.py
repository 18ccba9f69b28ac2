"""A health check of a workspace."""

from __future__ import annotations

import stat
from typing import Any

from sqlalchemy import select, text

from workbench.data import catalog
from workbench.erasure.request import OPEN
from workbench.erasure.verify import Check, check_objects
from workbench.errors import InputError, LockedError, WorkbenchError
from workbench.state import journal
from workbench.state.roles import ROLES_FILE, open_to_all
from workbench.state.tables import requests
from workbench.state.workspace import FOLDERS, SECRET_KEYS, Workspace
from workbench.workflows.operations.results import Health
from workbench.workflows.synthesis.fit_release import unrecorded
from workbench.workflows.training.publish_version import current_versions, is_whole, read_manifest
from workbench.workflows.training.train_shards import objects_of

_DATABASES = {f"{name}.db{suffix}" for name in ("state", "mlflow") for suffix in ("", "-wal", "-shm")}
_FILES = {"README.md", ".gitignore", ROLES_FILE, "mlflow.lock", "mlartifacts", *_DATABASES}


@open_to_all
def glance(workspace: Workspace) -> Health:
    """The checks that take no time, whatever the workspace holds: database, journal and keys."""
    checks = [_database(workspace), _journal(workspace), _keys(workspace)]
    return Health(healthy=all(check.ok for check in checks), checks=tuple(checks))


@open_to_all
def doctor(workspace: Workspace) -> Health:
    """Checks database, journal, keys, records, manifests, checkpoints, open requests and foreign files."""
    checks = [
        _database(workspace),
        _journal(workspace),
        _keys(workspace),
        *_records(workspace),
        *_ensembles(workspace),
        _requests(workspace),
        _foreign(workspace),
    ]
    return Health(healthy=all(check.ok for check in checks), checks=tuple(checks))


def _database(workspace: Workspace) -> Check:
    with workspace.engine.connect() as connection:
        found = connection.execute(text("PRAGMA integrity_check")).scalar()
    return Check(name="database", ok=found == "ok", detail="sound" if found == "ok" else "SQLite finds it damaged")


def _journal(workspace: Workspace) -> Check:
    with workspace.engine.connect() as connection:
        broken = journal.broken_at(connection)
    detail = "every link holds" if broken is None else f"the chain breaks at entry {broken}: it was edited"
    return Check(name="journal", ok=broken is None, detail=detail)


def _keys(workspace: Workspace) -> Check:
    names = [*(f"{name}.key" for name in SECRET_KEYS), "signing.pem"]
    paths = [workspace.root / "keys" / name for name in names]
    bad = [p.name for p in paths if not p.is_file() or stat.S_IMODE(p.stat().st_mode) & 0o077]
    return Check(
        name="keys", ok=not bad, detail="all there, mode 0600" if not bad else f"missing or readable by others: {bad}"
    )


def _records(workspace: Workspace) -> list[Check]:
    checks = []
    with workspace.engine.connect() as connection:
        for name in catalog.names(connection):
            store = catalog.store(connection, workspace, name)
            try:
                for place in store.digests:
                    store.bucket(*place)
                checks.append(Check(name=f"records of {name}", ok=True, detail="every bucket hashes as recorded"))
            except WorkbenchError as fault:
                checks.append(Check(name=f"records of {name}", ok=False, detail=str(fault)))
    return checks


def _ensembles(workspace: Workspace) -> list[Check]:
    checks = []
    with workspace.engine.connect() as connection:
        versions = current_versions(connection)
    for name, artifact in versions.items():
        try:
            found = check_objects(objects_of(workspace, artifact.dataset), read_manifest(workspace, artifact).objects())
            if not is_whole(workspace, artifact):
                detail = "its file is damaged or missing; the copy in the database is used until the next version"
                checks.append(Check(name=f"manifest of {name}", ok=False, detail=detail))
            stale = "; stale: rows were appended since it was trained" if artifact.body.get("stale") else ""
            checks.append(Check(name=f"checkpoints of {name}", ok=found.ok, detail=found.detail + stale))
        except WorkbenchError as fault:
            checks.append(Check(name=f"manifest of {name}", ok=False, detail=str(fault)))
    return checks


def _requests(workspace: Workspace) -> Check:
    with workspace.engine.connect() as connection:
        unfinished = connection.execute(select(requests.c.id).where(requests.c.status.in_(OPEN))).scalars().all()
    detail = "none open" if not unfinished else f"open: {', '.join(unfinished)}; workbench resume finishes them"
    return Check(name="requests", ok=not unfinished, detail=detail)


def _foreign(workspace: Workspace) -> Check:
    """Files nobody registered escape every purge, so they are named."""
    known = {*FOLDERS, *_FILES}
    foreign = [p.name for p in workspace.root.iterdir() if p.name not in known]
    written = []
    for dataset in sorted({p.name for folder in ("data", "objects") for p in (workspace.root / folder).iterdir()}):
        if not _strays(workspace, dataset):
            continue
        try:
            with workspace.lock(dataset):  # again: while nobody writes, what is not recorded never will be
                foreign += _strays(workspace, dataset)
        except LockedError:
            written.append(dataset)
        except InputError:  # no data set has such a name
            foreign += _strays(workspace, dataset)
    detail = "none" if not foreign else f"{len(foreign)} that the workbench does not know, first {sorted(foreign)[:5]}"
    detail += f"; being written: {', '.join(written)}" if written else ""
    return Check(name="foreign files", ok=not foreign, detail=detail)


def _strays(workspace: Workspace, dataset: str) -> list[str]:
    """A data set's records, checkpoints, generators, releases and evaluations that are recorded nowhere."""
    with workspace.engine.connect() as connection:
        is_known = dataset in catalog.names(connection)
        records = catalog.store(connection, workspace, dataset).strays() if is_known else []
        live = {d for a in current_versions(connection).values() for d in _objects(workspace, a)}
    data, objects = (workspace.root / folder / dataset for folder in ("data", "objects"))
    strays = [data / name for name in records] if is_known else [data] if data.exists() else []
    strays += [p for p in (objects, *objects.rglob("*")) if p.is_file() and p.name not in live]
    strays += unrecorded(workspace, dataset)
    return [str(path.relative_to(workspace.root)) for path in strays]


def _objects(workspace: Workspace, artifact: Any) -> frozenset[str]:
    try:
        return read_manifest(workspace, artifact).objects()
    except WorkbenchError:
        return frozenset()
