"""A data set by its public cells: how many of its people's rows fall into each. It reads the records, and keeps nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy import Connection

from workbench.data import catalog
from workbench.erasure.request import refuse_open_request
from workbench.errors import BusyError
from workbench.schema import Schema
from workbench.schema.column import Column
from workbench.state import reading
from workbench.state.roles import allowed, open_to_all
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.results import ColumnProfile, ProfileResult
from workbench.workflows.outputs import judge_now

_NOTHING = "no profile is made"
FEWEST = 20  # rows of a cell, or it is not told apart


@allowed("operate")
def profile(workspace: Workspace, dataset: str) -> ProfileResult:
    """The share of rows in each cell of each column, of training rows alone; cells with few rows are told together.

    Internal: computed from people's rows. Raises BusyError where one of them waits to be erased.
    """
    with reading(workspace.engine) as connection:
        refuse_open_request(connection, dataset, _NOTHING)
        store = catalog.store(connection, workspace, dataset)

    def judge(connection: Connection) -> None:
        refuse_open_request(connection, dataset, _NOTHING)
        if catalog.store(connection, workspace, dataset).digests != store.digests:
            raise BusyError(f"the rows of data set {dataset} changed while they were read", hint="try again")

    records = store.read("train")
    bins = records.codec.bin(records.values)
    columns = records.schema.encoded.items()
    found = ProfileResult(
        dataset=dataset,
        rows=len(records),
        columns=tuple(_column(name, column, bins[:, place]) for place, (name, column) in enumerate(columns)),
    )
    judge_now(workspace, judge)
    return found


@open_to_all
def schema_of(workspace: Workspace, dataset: str) -> Schema:
    """The public schema that a data set was taken in under; raises NotFoundError where there is no such data set."""
    with workspace.engine.connect() as connection:
        return catalog.entry(connection, dataset).schema


def _column(name: str, column: Column, cells: Any) -> ColumnProfile:
    counts = np.bincount(cells, minlength=column.cells + 1)
    labels = [*column.spec.cell_labels(column), "missing"]
    total = max(1, int(counts.sum()))
    shown = [(label, int(n) / total) for label, n in zip(labels, counts, strict=False) if n >= FEWEST]
    rare = 1.0 - sum(share for _, share in shown)
    return ColumnProfile(column=name, cells=(*shown, *([("few rows each", rare)] if rare > 1e-9 else [])))
