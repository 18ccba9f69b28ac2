"""How much less or more the columns go together in the synthetic records than in the training records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.reports.charts.drawing import WIDTH, box, chart, drawing, key, label, legend, shortened
from workbench.reports.formatting import figure
from workbench.reports.lenient_json import items, number, texts

_LEFT, _TOP, _BELOW = 96.0, 6.0, 92.0
_LETTERS = 15
_FULL = 0.3  # a difference from which on a cell has its full colour
_STEPS = 5


def association_map(picture: Mapping[str, Any]) -> str:
    """A cell for each pair of columns: synthetic less training; empty where there is no pair."""
    names = texts(picture.get("names"))
    if len(names) < 2:
        return ""
    pairs = {(i, j): _difference(picture, i, j) for i in range(1, len(names)) for j in range(i)}
    size = min((WIDTH - _LEFT - 4) / (len(names) - 1), 34.0)
    rows, bottom = range(1, len(names)), _TOP + (len(names) - 1) * size
    parts = [_cell(names, i, j, difference, size) for (i, j), difference in pairs.items()]
    parts += [label(_LEFT - 6, _TOP + (i - 0.5) * size + 4, _name(names[i]), "end small") for i in rows]
    parts += [_upright(_LEFT + (i - 0.5) * size + 4, bottom + 8, _name(names[i - 1])) for i in rows]
    return chart("Associations", _NOTE, drawing(_told(names, pairs), bottom + _BELOW, parts) + _legend())


_NOTE = "How strongly each two columns go together: synthetic less training. The paler, the better kept."


def _name(name: str) -> str:
    return shortened(name, _LETTERS)


def _upright(x: float, y: float, text: str) -> str:
    return f'<g transform="translate({x:.1f} {y:.1f}) rotate(-90)">{label(0, 0, text, "end small")}</g>'


def _difference(picture: Mapping[str, Any], i: int, j: int) -> float | None:
    training, synthetic = (_entry(picture.get(name), i, j) for name in ("training", "synthetic"))
    return None if training is None or synthetic is None else synthetic - training


def _entry(matrix: Any, i: int, j: int) -> float | None:
    rows = items(matrix)
    row = items(rows[i]) if i < len(rows) else []
    return number(row[j]) if j < len(row) else None


def _cell(names: list[str], i: int, j: int, difference: float | None, size: float) -> str:
    x, y = _LEFT + j * size, _TOP + (i - 1) * size
    pair = f"{names[i]} and {names[j]}"
    if difference is None:
        return box(x + 2, y + 2, size - 4, size - 4, "gap", told=f"{pair}: not known")
    strength = min(round(_STEPS * abs(difference) / _FULL), _STEPS) / _STEPS
    style = "more" if difference > 0 else "less"
    told = f"{pair}: {difference:+.3f}"
    return box(x + 0.5, y + 0.5, size - 1, size - 1, style, told=told, opacity=0.06 + 0.94 * strength)


def _legend() -> str:
    ramp = [_FULL * step / _STEPS for step in (1, 3, 5)]

    def keyed(style: str) -> str:
        return key("".join(box(1 + 9 * n, 2, 8, 8, style, opacity=value / _FULL) for n, value in enumerate(ramp)))

    about = f"{ramp[0]:.2f}, {ramp[1]:.2f}, {ramp[2]:.2f} or more"
    return legend([(keyed("less"), f"lower by {about}"), (keyed("more"), f"higher by {about}")])


def _told(names: list[str], pairs: Mapping[tuple[int, int], float | None]) -> str:
    known = {pair: difference for pair, difference in pairs.items() if difference is not None}
    if not known:
        return "Differences of the associations between columns: none is known."
    (i, j), most = max(known.items(), key=lambda entry: abs(entry[1]))
    mean = sum(map(abs, known.values())) / len(known)
    return (
        f"Differences of the associations between {len(names)} columns: {figure(mean)} on average; the largest "
        f"is {most:+.3f}, of {names[i]} and {names[j]}."
    )
