"""Which data sets a workspace holds, and the way to their records."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from workbench.data.store import Store
from workbench.errors import NotFoundError
from workbench.schema import Schema
from workbench.state.tables import buckets, datasets
from workbench.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A data set's row in the catalog. `ingest` binds row numbers to the ingest that counted them."""

    name: str
    schema: Schema
    ingest: str
    mlflow_run: str


def names(connection: Connection) -> list[str]:
    """All data sets, in alphabetical order."""
    return list(connection.execute(select(datasets.c.name).order_by(datasets.c.name)).scalars())


def entry(connection: Connection, name: str) -> Entry:
    """A data set's entry; raises NotFoundError where it was never ingested."""
    row = connection.execute(select(datasets).where(datasets.c.name == name)).one_or_none()
    if row is None:
        raise NotFoundError(
            f"no data set {name!r} in this workspace; it has {names(connection) or 'none'}",
            hint="workbench ingest NAME",
        )
    return Entry(name=row.name, schema=Schema.model_validate(row.schema), ingest=row.ingest, mlflow_run=row.mlflow_run)


def store(connection: Connection, workspace: Workspace, name: str) -> Store:
    """The store of a data set as the database knows it now."""
    rows = connection.execute(select(buckets).where(buckets.c.dataset == name))
    digests = {(row.split, row.bucket): row.digest for row in rows}
    return Store(name, workspace.data_folder(name), entry(connection, name).schema, digests)


def record_bucket(connection: Connection, dataset: str, split: str, bucket: int, digest: str | None) -> None:
    """Sets what a bucket file must hash to (None: there is no such file), in the caller's write transaction."""
    here = (buckets.c.dataset == dataset) & (buckets.c.split == split) & (buckets.c.bucket == bucket)
    connection.execute(buckets.delete().where(here))
    if digest is not None:
        connection.execute(buckets.insert().values(dataset=dataset, split=split, bucket=bucket, digest=digest))
