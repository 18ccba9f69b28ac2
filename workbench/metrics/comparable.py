"""Whether the tables of an evaluation can be compared at all."""

from __future__ import annotations

import numpy as np

from workbench.metrics.measure import NotComputableError
from workbench.metrics.tables import Tables
from workbench.schema import Codec
from workbench.schema.codec import Values

FEWEST = 30  # subjects, or rows of a release: fewer have no interval that means anything


def check_tables(tables: Tables) -> None:
    """Raises NotComputableError where training rows or release are too few, or no encoding of the schema's columns.

    Encoded columns have no names, so that a mix-up of their order cannot be seen here: it cannot happen either, as the codec
    encodes by name. What it would leave behind, codes and numbers outside a column's domain, is looked for.
    """
    few = {"training subjects": len(np.unique(tables.training.points)), "rows of the release": len(tables.synthetic)}
    for what, found in few.items():
        if found < FEWEST:
            raise NotComputableError(f"not computable because there are fewer than {FEWEST} {what}")
    encoded = {"training": tables.training.values, "holdout": tables.holdout.values, "release": tables.synthetic}
    for what, values in encoded.items():
        _check_values(values, tables.codec, what)


def has_holdout(tables: Tables) -> bool:
    """Whether the holdout has subjects enough for a figure."""
    return len(np.unique(tables.holdout.points)) >= FEWEST


def require_holdout(tables: Tables) -> None:
    """Raises NotComputableError where the holdout has too few subjects to be tested on."""
    if not has_holdout(tables):
        raise NotComputableError(f"not computable because the holdout has fewer than {FEWEST} subjects")


def _check_values(values: Values, codec: Codec, what: str) -> None:
    if values.ndim != 2 or values.shape[1] != len(codec.names):
        raise NotComputableError(f"not computable because the {what} has not the columns of the schema")
    for name, column, encoded in zip(codec.names, codec.schema.encoded.values(), values.T, strict=True):
        absent = np.isnan(encoded)
        low, high = (0.0, column.cells - 1.0) if column.is_coded else (column.low, column.high)
        unseen = ~absent & ((encoded < low) | (encoded > high))
        if column.is_coded:
            unseen |= ~absent & (encoded % 1 != 0)
        if unseen.any() or (absent.any() and not column.missing):
            raise NotComputableError(
                f"not computable because column {name} of the {what} has values outside its domain"
            )
