"""Which data sets a workspace holds, and the way to their records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, String, select, type_coerce

from workbench.data.files import LocalFiles
from workbench.data.store import BUCKET_BITS, Store, first_format_name
from workbench.errors import NotFoundError
from workbench.schema import Schema
from workbench.state import journal
from workbench.state.atomic_files import sha256
from workbench.state.tables import buckets, datasets, requests
from workbench.state.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A data set's row in the catalog. `ingest` binds row numbers to the ingest that counted them.

    `bits` are those of a shard point that say which bucket file holds a record.
    """

    name: str
    schema: Schema
    ingest: str
    mlflow_run: str
    policy: Mapping[str, Any]
    bits: int


# The schema as it lies there: reading its JSON took longer than all else here
_ENTRY = select(
    *(column for column in datasets.c if column is not datasets.c.schema),
    type_coerce(datasets.c.schema, String).label("schema"),
)


def names(connection: Connection) -> list[str]:
    """All data sets, in alphabetical order."""
    return list(connection.execute(select(datasets.c.name).order_by(datasets.c.name)).scalars())


def entry(connection: Connection, name: str) -> Entry:
    """A data set's entry; raises NotFoundError where it was never ingested."""
    row = connection.execute(_ENTRY.where(datasets.c.name == name)).one_or_none()
    if row is None:
        raise NotFoundError(
            f"no data set {name!r} in this workspace; it has {names(connection) or 'none'}",
            hint="workbench ingest NAME",
        )
    return Entry(
        name=row.name,
        schema=_schema(row.schema),
        ingest=row.ingest,
        mlflow_run=row.mlflow_run,
        policy=row.policy,
        bits=row.bucket_bits or BUCKET_BITS,
    )


def version(connection: Connection, name: str) -> int:
    """Return the version of a data set's records: 1 as ingested, and one more with each append and each erasure."""
    appended = sum(1 for _, body in journal.entries(connection, "APPENDED") if body["dataset"] == name)
    concerned = {
        row.id for row in connection.execute(select(requests.c.id, requests.c.datasets)) if name in row.datasets
    }
    dropped = sum(not concerned.isdisjoint(body["requests"]) for _, body in journal.entries(connection, "DROPPED"))
    return 1 + appended + dropped


@lru_cache(maxsize=64)
def _schema(document: str) -> Schema:
    """A stored schema; it never changes, and every submission and prediction asks for it several times."""
    return Schema.model_validate_json(document)


def store(connection: Connection, workspace: Workspace, name: str) -> Store:
    """The store of a data set as the database knows it now.

    Where an earlier release was interrupted as it replaced a bucket file, either content is right: the file says which it is.
    """
    found, files = entry(connection, name), LocalFiles(workspace.data_folder(name))
    digests: dict[tuple[str, int], str] = {}
    first_format = set()
    for row in connection.execute(select(buckets).where(buckets.c.dataset == name)):
        digest = row.digest if row.next_digest is None else _settled(row, files)
        if digest:
            digests[row.split, row.bucket] = digest
            if row.format is None:
                first_format.add((row.split, row.bucket))
    return Store(name, files, found.schema, digests, found.bits, frozenset(first_format))


def record_bucket(connection: Connection, dataset: str, split: str, bucket: int, digest: str | None) -> None:
    """Switch a bucket to the file of that digest (None: there is none), in the caller's write transaction."""
    connection.execute(buckets.delete().where(_place(dataset, split, bucket)))
    if digest is not None:
        row = {"dataset": dataset, "split": split, "bucket": bucket, "digest": digest, "format": 2}
        connection.execute(buckets.insert().values(**row))


def sweep_strays(connection: Connection, workspace: Workspace, name: str) -> None:
    """Delete the files of a data set that no bucket is read from. The caller holds its lock, and nobody writes one now."""
    found = store(connection, workspace, name)
    for stray in found.strays():
        found.files.delete(stray)


def _place(dataset: str, split: str, bucket: int) -> ColumnElement[bool]:
    return (buckets.c.dataset == dataset) & (buckets.c.split == split) & (buckets.c.bucket == bucket)


def _settled(row: Any, files: LocalFiles) -> str:
    content = files.read(first_format_name(row.split, row.bucket))
    if not content:
        return str(row.next_digest and row.digest)  # gone as announced, or not there yet
    return str(row.next_digest if sha256(content) == row.next_digest else row.digest)
