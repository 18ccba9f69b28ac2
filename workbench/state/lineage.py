"""Artifacts: everything written that was computed from personal rows, and what each was derived from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from workbench.errors import NotFoundError
from workbench.state.journal import now
from workbench.state.tables import artifacts


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """Something derived from a data set: `path` is relative to the workspace; `body` holds what its kind needs."""

    id: str
    kind: str
    dataset: str
    derived_from: Sequence[str]
    digest: str | None = None
    path: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    created: str = field(default_factory=now)


def record(connection: Connection, artifact: Artifact) -> None:
    """Registers an artifact inside the caller's write transaction."""
    connection.execute(artifacts.insert().values(**artifact.__dict__ | {"derived_from": list(artifact.derived_from)}))


def remove(connection: Connection, ids: Sequence[str]) -> None:
    """Forgets artifacts, inside the caller's write transaction."""
    connection.execute(artifacts.delete().where(artifacts.c.id.in_(ids)))


def amend(connection: Connection, artifact_id: str, **body: Any) -> None:
    """Sets fields of an artifact's body, inside the caller's write transaction."""
    changed = {**get(connection, artifact_id).body, **body}
    connection.execute(artifacts.update().where(artifacts.c.id == artifact_id).values(body=changed))


def get(connection: Connection, artifact_id: str) -> Artifact:
    """The artifact of that id; raises NotFoundError where there is none."""
    row = connection.execute(select(artifacts).where(artifacts.c.id == artifact_id)).one_or_none()
    if row is None:
        raise NotFoundError(
            f"nothing here is called {artifact_id!r}", hint="workbench lineage DATASET --json lists what is"
        )
    return Artifact(**row._mapping)


def find(connection: Connection, *, dataset: str | None = None, kind: str | None = None) -> list[Artifact]:
    """All artifacts of a data set or a kind, oldest first."""
    query = select(artifacts).order_by(artifacts.c.created, artifacts.c.id)
    if dataset is not None:
        query = query.where(artifacts.c.dataset == dataset)
    if kind is not None:
        query = query.where(artifacts.c.kind == kind)
    return [Artifact(**row._mapping) for row in connection.execute(query)]
