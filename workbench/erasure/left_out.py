"""Who is left out of what is measured: the people of a data set who wait for their erasure. Shown are counts alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, select

from workbench.data.dataset import Dataset
from workbench.data.partition import Partition
from workbench.data.store import SPLITS
from workbench.erasure.locate import ERASED
from workbench.erasure.request import refuse_open_request
from workbench.errors import BusyError
from workbench.state.tables import quarantine


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """The people of a data set who had an open request at one moment, by shard point; `trained`: those of the training part."""

    dataset: str
    points: frozenset[int] = frozenset()
    trained: frozenset[int] = frozenset()
    requests: frozenset[str] = frozenset()

    def rest(self, records: Dataset) -> Dataset:
        """Return the records of everyone else."""
        if not self.points:
            return records
        return records.rows(~np.isin(records.points, np.array(sorted(self.points), dtype=np.uint64)))

    def shards(self, partition: Partition) -> frozenset[int]:
        """Return the shards that learnt from one of these people."""
        points = np.array(sorted(self.trained), dtype=np.uint64)
        return frozenset(int(shard) for shard in partition.shard_of(points)) if len(points) else frozenset()


NO_ONE = LeftOut(dataset="")


def left_out(connection: Connection, dataset: str) -> LeftOut:
    """Return the people of a data set who wait for their erasure now."""
    chosen = (quarantine.c.dataset == dataset) & (quarantine.c.split != ERASED)
    rows = connection.execute(select(quarantine.c.point, quarantine.c.split, quarantine.c.request).where(chosen)).all()
    return LeftOut(
        dataset=dataset,
        points=frozenset(int(row.point) for row in rows),
        trained=frozenset(int(row.point) for row in rows if row.split == SPLITS[0]),
        requests=frozenset(row.request for row in rows),
    )


def refuse_newcomers(connection: Connection, before: LeftOut, refused: str) -> None:
    """Raise BusyError, saying what is refused, where a person has asked to be erased who was not left out."""
    if not left_out(connection, before.dataset).points <= before.points:
        raise BusyError(
            f"a subject of data set {before.dataset} asked to be erased in the meantime; {refused}",
            hint="start it again: it leaves out every person with an open request",
        )


def refuse_unless_left_out(connection: Connection, dataset: str, requests: Collection[str], refused: str) -> None:
    """Raise BusyError, saying what is refused, where a request of the data set is open that is not among `requests`."""
    if not left_out(connection, dataset).requests <= set(requests):
        refuse_open_request(connection, dataset, refused)
