"""What a report draws of a release beside its training rows: shares of cells, and associations; no small count is shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.metrics.comparable import check_tables
from workbench.metrics.fidelity.associations import association_matrix
from workbench.metrics.jackknife import Floats
from workbench.metrics.tables import Tables
from workbench.schema import Column

MOST_BARS = 20
MOST_COLUMNS = 60  # whose associations are drawn: a picture of more cannot be read, and they are squared
SUPPRESSED = "other (suppressed)"
MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A cell, or cells drawn together, and which share of either table is in it."""

    label: str
    training: float
    synthetic: float


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """The bars of one column; shares of either table sum to 1."""

    column: str
    kind: str
    bars: tuple[Bar, ...]

    def to_json(self) -> dict[str, Any]:
        """The overlay as JSON."""
        return {**asdict(self), "bars": [asdict(bar) for bar in self.bars]}


@dataclass(frozen=True, kw_only=True)
class Associations:
    """How strongly each two columns go together [d, d] in either table; None where one does not vary.

    `left_out` columns of the table are not among them.
    """

    columns: tuple[str, ...]
    training: tuple[tuple[float | None, ...], ...]
    synthetic: tuple[tuple[float | None, ...], ...]
    left_out: int = 0

    def to_json(self) -> dict[str, Any]:
        """The associations as JSON."""
        return {
            "columns": list(self.columns),
            "training": [list(row) for row in self.training],
            "synthetic": [list(row) for row in self.synthetic],
            "left_out": self.left_out,
        }


def overlays(tables: Tables, *, threshold: int) -> tuple[Overlay, ...]:
    """The bars of every column: its cells, or at most 20 runs of a number's neighbouring cells.

    Guarantees:
      - no bar rests on fewer than `threshold` training subjects: those that do, empty ones too, are one bar "other
        (suppressed)", and where this would still be too small the next smallest bar is in it too, so that it cannot be had as
        the rest of 1 either. A table of fewer subjects is one bar.
    Raises NotComputableError where the tables do not fit the schema.
    """
    check_tables(tables)
    return tuple(
        _overlay(tables, place, name, column, threshold)
        for place, (name, column) in enumerate(tables.codec.schema.encoded.items())
    )


def associations(tables: Tables) -> Associations:
    """Cramér's V, Pearson's r or the correlation ratio of each two of the first 60 columns, by their kinds."""
    check_tables(tables)
    names = tables.codec.names
    training, synthetic = (
        _rounded(association_matrix(tables, name, most=MOST_COLUMNS)) for name in ("training", "synthetic")
    )
    left_out = max(0, len(names) - MOST_COLUMNS)
    return Associations(columns=names[:MOST_COLUMNS], training=training, synthetic=synthetic, left_out=left_out)


def _overlay(tables: Tables, place: int, name: str, column: Column, threshold: int) -> Overlay:
    labels, runs = _runs(column)
    training, synthetic = (runs[tables.bins[table][:, place]] for table in ("training", "synthetic"))
    shown = _shown(training, tables.training.points, len(labels), threshold)
    shares = [np.bincount(cells, minlength=len(labels)) / len(cells) for cells in (training, synthetic)]
    bars = [
        Bar(label=label, training=float(p), synthetic=float(q))
        for label, p, q, seen in zip(labels, *shares, shown, strict=True)
        if seen
    ]
    if not shown.all():
        rest = [float(share[~shown].sum()) for share in shares]
        bars.append(Bar(label=SUPPRESSED, training=rest[0], synthetic=rest[1]))
    return Overlay(column=name, kind=column.kind, bars=tuple(bars))


def _shown(
    cells: npt.NDArray[np.int64], points: npt.NDArray[np.uint64], size: int, threshold: int
) -> npt.NDArray[np.bool_]:
    """Which bars may be drawn by themselves; what the others hold together, if there are any, is no small count."""
    pairs = np.unique(np.stack([cells.astype(np.uint64), points]), axis=1)  # a subject counts once in a cell
    cell, subject = pairs[0].astype(np.int64), pairs[1]
    subjects = np.bincount(cell, minlength=size)
    shown = subjects >= threshold
    for place in np.argsort(subjects, kind="stable"):
        if shown.all() or len(np.unique(subject[~shown[cell]])) >= threshold:
            break
        shown[place] = False
    return shown


def _runs(column: Column) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The labels of the bars, and the bar of each cell; neighbouring cells of a number are drawn together."""
    width = 1 if column.is_coded else -(-column.cells // MOST_BARS)
    runs = np.arange(column.cells) // width
    labels = list(column.labels) if column.is_coded else _intervals(column, width)
    if column.missing:
        return [*labels, MISSING], np.append(runs, len(labels))
    return labels, runs


def _intervals(column: Column, width: int) -> list[str]:
    """From the least to the greatest value of each run, or where it is a single one, that."""
    lows, highs = column.cell_bounds
    ends = [(lows[i], highs[min(i + width, len(lows)) - 1]) for i in range(0, len(lows), width)]
    texts = [(column.spec.bound_text(a, column), column.spec.bound_text(b, column)) for a, b in ends]
    return [low if a == b else f"{low} to {high}" for (a, b), (low, high) in zip(ends, texts, strict=True)]


def _rounded(matrix: Floats) -> tuple[tuple[float | None, ...], ...]:
    return tuple(tuple(None if np.isnan(value) else round(float(value), 4) for value in row) for row in matrix)
