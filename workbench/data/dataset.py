"""Validated records of people with their schema: what generators and learners are given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from workbench.data.identity import Points
from workbench.errors import InputError
from workbench.schema import Codec, Schema
from workbench.schema.codec import Values


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """n encoded records in canonical order: by shard point, slice point, then content.

    `values` is float64 [n, d] as the codec defines; `points` and `slice_points` are the subjects' places (equal points:
    one subject). The order is a function of the set of records alone.
    """

    name: str
    schema: Schema
    values: Values
    points: Points
    slice_points: Points

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def codec(self) -> Codec:
        """The codec of the schema."""
        return Codec(self.schema)

    @property
    def target_position(self) -> int:
        """The column of the target in `values`; raises InputError where the schema declares none."""
        if self.schema.target is None:
            raise InputError(
                f"the schema of data set {self.name} declares no target column", hint="give one column role: target"
            )
        return self.codec.names.index(self.schema.target)

    @property
    def features(self) -> Values:
        """All columns but the target, float64 [n, d-1]."""
        return np.delete(self.values, self.target_position, axis=1)

    @property
    def target(self) -> npt.NDArray[np.float64]:
        """The target column, float64 [n]."""
        return self.values[:, self.target_position]

    def rows(self, where: npt.NDArray[np.bool_]) -> Dataset:
        """The records where the mask holds, in the same order."""
        return Dataset(
            name=self.name,
            schema=self.schema,
            values=self.values[where],
            points=self.points[where],
            slice_points=self.slice_points[where],
        )

    def joined(self, values: Values, points: Points, slice_points: Points) -> Dataset:
        """These records together with others, in canonical order."""
        values = np.concatenate([self.values, values])
        points, slice_points = (
            np.concatenate([self.points, points]),
            np.concatenate([self.slice_points, slice_points]),
        )
        order = canonical_order(values, points, slice_points)
        return Dataset(
            name=self.name,
            schema=self.schema,
            values=values[order],
            points=points[order],
            slice_points=slice_points[order],
        )


def canonical_order(values: Values, points: Points, slice_points: Points) -> npt.NDArray[np.intp]:
    """The permutation that sorts records by shard point, slice point, then their values from the first column on."""
    order = np.argsort(points, kind="stable")
    if (np.diff(points[order]) > 0).all():  # nothing else decides
        return order
    content = [np.nan_to_num(values[:, i], nan=np.inf) for i in reversed(range(values.shape[1]))]
    return np.lexsort([*content, slice_points, points])
