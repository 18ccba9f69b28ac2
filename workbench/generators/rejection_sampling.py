"""Conditions for generators that know none: rows that don't meet them are thrown away."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from workbench.errors import InputError
from workbench.schema import Codec
from workbench.schema.codec import Mask, Values
from workbench.schema.value_sets import Within

# Draws of rows that meet a condition, before it counts as one that can't be met.
_TRIES = 50
_LEAST_DRAWN = 2_000


def draw(one_batch: Callable[[int], Values], n: int, *, codec: Codec, where: Mapping[str, Within] | None) -> Values:
    """`n` rows from a generator that knows no conditions: those that don't meet `where`, or that the schema says never
    occur, are thrown away.

    Raises InputError where too few of very many rows are left.
    """
    never = [c.allowed(codec.schema.encoded) for c in codec.schema.constraints if c.never is not None]
    if not where and not never:
        return one_batch(n)
    taken: list[Values] = []
    for _ in range(_TRIES):
        rows = one_batch(max(n, _LEAST_DRAWN))
        meets = _all_within(rows, codec, where or {})
        for both in never:
            meets &= ~_all_within(rows, codec, both)
        taken.append(rows[meets])
        if sum(map(len, taken)) >= n:
            return np.concatenate(taken)[:n]
    asked = f"the conditions on {sorted(where)}" if where else "the schema's constraints"
    raise InputError(
        f"only {sum(map(len, taken))} of {_TRIES * max(n, _LEAST_DRAWN):,} drawn rows meet {asked}",
        hint="allow more values, ask for fewer rows, or take a generator that draws conditions exactly: aim, mst",
    )


def _all_within(rows: Values, codec: Codec, conditions: Mapping[str, Within]) -> Mask:
    met = np.ones(len(rows), dtype=bool)
    for name, within in conditions.items():
        met &= within.allows(rows[:, codec.names.index(name)])
    return met
