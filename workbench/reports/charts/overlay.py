"""The marginal of a column, in the training and in the synthetic records, on each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.reports.charts.axis import Axis
from workbench.reports.charts.drawing import WIDTH, box, chart, drawing, label, line, shortened
from workbench.reports.formatting import percent
from workbench.reports.lenient_json import items, number, texts

_LEFT, _RIGHT, _ROW, _TOP, _BOTTOM = 122.0, 12.0, 16.0, 4.0, 20.0
_MOST = 20  # cells that are drawn by themselves; the smallest others are drawn as one
_LETTERS = 18


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell's share of the training and of the synthetic records; None where it was suppressed."""

    name: str
    training: float | None
    synthetic: float | None


def overlay(column: Mapping[str, Any]) -> str:
    """The chart of a column: a bar for the training records, a mark for the synthetic; empty where it has no cell."""
    cells = _cells(column)
    name = str(column.get("name", ""))
    if not cells:
        return ""
    drawn = _merged(cells)
    axis = Axis(title="", low=0, high=max([s for c in drawn for s in (c.training, c.synthetic) if s], default=1.0))
    height = _TOP + _ROW * len(drawn) + _BOTTOM
    parts = _grid(axis, height)
    for row, cell in enumerate(drawn):
        parts += _row(cell, _TOP + _ROW * row, axis)
    told = _largest(cells)
    return chart(name, told, drawing(f"Shares of the cells of {name}. {told}", height, parts))


def _cells(column: Mapping[str, Any]) -> list[Cell]:
    training, synthetic = items(column.get("training")), items(column.get("synthetic"))
    names = texts(column.get("labels"))
    shares = zip(names, training + [None] * len(names), synthetic + [None] * len(names), strict=False)
    return [Cell(name=name, training=_share(p), synthetic=_share(q)) for name, p, q in shares]


def _share(value: Any) -> float | None:
    found = number(value)
    return None if found is None else min(max(found, 0.0), 1.0)


def _merged(cells: Sequence[Cell]) -> list[Cell]:
    """At most 20 cells: the largest, in their order, and the sum of all others that are known."""
    if len(cells) <= _MOST:
        return list(cells)
    ranked = sorted(range(len(cells)), key=lambda i: -max(cells[i].training or 0, cells[i].synthetic or 0))
    kept = set(ranked[: _MOST - 1])
    rest = [cell for i, cell in enumerate(cells) if i not in kept]
    other = Cell(
        name=f"{len(rest)} others",
        training=sum(cell.training or 0 for cell in rest),
        synthetic=sum(cell.synthetic or 0 for cell in rest),
    )
    return [*(cell for i, cell in enumerate(cells) if i in kept), other]


def _grid(axis: Axis, height: float) -> list[str]:
    parts = []
    for tick in axis.ticks:
        x = _across(axis, tick)
        parts.append(line(x, _TOP, x, height - _BOTTOM, "grid"))
        if x < WIDTH - 2 * _RIGHT or tick == axis.ticks[-1]:
            parts.append(label(x, height - 5, percent(tick), "dim small middle"))
    return parts


def _row(cell: Cell, y: float, axis: Axis) -> list[str]:
    told = f"{cell.name}: training {_said(cell.training)}, synthetic {_said(cell.synthetic)}"
    parts = [label(_LEFT - 5, y + 12, shortened(cell.name, _LETTERS), "end cell")]
    if cell.training is None:
        parts.append(box(_LEFT, y + 3, WIDTH - _LEFT - _RIGHT, _ROW - 6, "gap", told=told))
        if cell.synthetic is None:
            return [*parts, label(_LEFT + 6, y + 12, "suppressed", "dim small")]
    else:
        parts.append(box(_LEFT, y + 2, _across(axis, cell.training) - _LEFT, _ROW - 4, "bar", told=told))
    if cell.synthetic is not None:
        parts.append(box(_across(axis, cell.synthetic) - 1.5, y + 1, 3, _ROW - 2, "mark", told=told))
    return parts


def _across(axis: Axis, share: float) -> float:
    return _LEFT + axis.at(share) * (WIDTH - _LEFT - _RIGHT)


def _largest(cells: Sequence[Cell]) -> str:
    """The cell whose shares differ most, in words."""
    known = [(abs(c.training - c.synthetic), c) for c in cells if c.training is not None and c.synthetic is not None]
    if not known:
        return "All cells are suppressed."
    _, cell = max(known, key=lambda pair: pair[0])
    return f"Largest difference: {cell.name}, training {_said(cell.training)}, synthetic {_said(cell.synthetic)}."


def _said(share: float | None) -> str:
    return "suppressed" if share is None else percent(share)
