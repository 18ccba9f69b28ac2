"""Rewriting a data set's bucket files in the newest format, with as many buckets as its size asks for.

The rows that training sees stay the same to the last bit, and so do their order and every digest of a model. The new files
are written beside the old ones, bucket by bucket; one transaction switches to them, and then the old ones are deleted. Killed
before that moment, the old ones are read, and the next try leaves out what is written already; killed after it, the next
command that writes deletes the old ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from workbench.data import catalog
from workbench.data.bucket_file import POINT, numbers_of, seal_key
from workbench.data.store import Store, bits_for, bucket_of, runs_of
from workbench.state import writing
from workbench.state.roles import internal
from workbench.state.tables import buckets, datasets
from workbench.state.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

REWRITTEN = "rewritten"


@internal
def rewrite_records(workspace: Workspace, name: str, *, obstacle: str | None) -> str | None:
    """Rewrite the records of a data set whose lock the caller holds, unless there is an obstacle.

    Return what was done, or the obstacle; None where nothing is to be done.
    """
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, name)
    if not store.first_format:
        return None
    if obstacle:
        return obstacle
    bits, key = max(store.bits, bits_for(store.count_rows(), store.schema)), seal_key(workspace.key("placement"))
    digests = {}
    for split, bucket in sorted(store.digests):
        for child, table in _children(store, split, bucket, bits):
            digests[split, child] = store.put(table, key)
    with writing(workspace.engine) as connection:
        connection.execute(buckets.delete().where(buckets.c.dataset == name))
        for (split, bucket), digest in digests.items():
            catalog.record_bucket(connection, name, split, bucket, digest)
        connection.execute(datasets.update().where(datasets.c.name == name).values(bucket_bits=bits))
    with workspace.engine.connect() as connection:
        catalog.sweep_strays(connection, workspace, name)
    return REWRITTEN


def _children(store: Store, split: str, bucket: int, bits: int) -> Iterator[tuple[int, pa.Table]]:
    """Yield the records of a bucket by those that it becomes."""
    table = store.bucket(split, bucket)
    assert table is not None
    for child, first, last in runs_of(bucket_of(numbers_of(table[POINT]), bits)):
        yield child, table.slice(first, last - first)
