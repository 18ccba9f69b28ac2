"""The shards of an ensemble: which were trained again, and from which slice on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.reports.charts.drawing import WIDTH, box, chart, drawing, key, label, legend
from workbench.reports.lenient_json import number, records, whole

_STATES = {"trained": "bar", "retrained": "f2", "quarantined": "f5", "empty": "gap"}
_MEANING = {
    "trained": "trained, not touched by an erasure",
    "retrained": "trained again: the coloured slices, the first being at the bottom",
    "quarantined": "quarantined: an open request concerns it",
    "empty": "empty: it abstains",
}
_ACROSS, _GAP, _HEIGHT = 10, 4.0, 40.0
_MOST = 300


def shard_map(shards: Any) -> str:
    """A box for each shard, its slices from below; empty where there is none. Of very many, those that changed come first."""
    known = records(shards)
    if not known:
        return ""
    changed = [shard for shard in known if _state(shard) != "trained"]
    drawn = known if len(known) <= _MOST else [*changed, *(s for s in known if _state(s) == "trained")][:_MOST]
    counts = Counter(map(_state, known))
    told = f"{len(known)} shards: {', '.join(f'{counts[state]} {state}' for state in _STATES if counts[state])}."
    note = told if len(drawn) == len(known) else f"{told} {len(drawn)} of them are drawn."
    rows = -(-len(drawn) // _ACROSS)
    parts = [part for place, shard in enumerate(drawn) for part in _drawn(place, shard)]
    keys = [(key(box(8, 1, 12, 10, _STATES[s])), f"{_MEANING[s]} ({counts[s]})") for s in _STATES if counts[s]]
    return chart("Shards", note, drawing(told, rows * (_HEIGHT + _GAP), parts) + legend(keys))


def _state(shard: Mapping[str, Any]) -> str:
    state = shard.get("state")
    return state if isinstance(state, str) and state in _STATES else "trained"


def _drawn(place: int, shard: Mapping[str, Any]) -> Sequence[str]:
    width = (WIDTH - _GAP * (_ACROSS - 1)) / _ACROSS
    x, y = place % _ACROSS * (width + _GAP), place // _ACROSS * (_HEIGHT + _GAP)
    state, name = _state(shard), str(shard.get("shard", place))
    body = box(
        x + 0.5, y + 0.5, width - 1, _HEIGHT - 1, "gap" if state == "empty" else "bar", told=_told(shard, name, state)
    )
    redone = _redone(shard) * (_HEIGHT - 14)
    parts = [body]
    if state in ("retrained", "quarantined"):
        parts.append(box(x + 0.5, y + 0.5, width - 1, redone, _STATES[state]))
    return [*parts, label(x + width / 2, y + _HEIGHT - 4, name, "small middle")]


def _redone(shard: Mapping[str, Any]) -> float:
    """The share of the slices that was trained again; all where the first of them is not known."""
    slices, first = whole(shard.get("slices")), whole(shard.get("first_redone"))
    return 1.0 if not slices or first is None else max(slices - first, 0) / slices


def _told(shard: Mapping[str, Any], name: str, state: str) -> str:
    slices, first, generation = (whole(shard.get(field)) for field in ("slices", "first_redone", "generation"))
    seconds = number(shard.get("seconds"))
    said = [f"shard {name}: {state}"]
    if state == "retrained" and first is not None and slices:
        said.append(f"slices {first + 1} to {slices} of {slices}")
    if generation is not None:
        said.append(f"generation {generation}")
    return ", ".join(said + ([] if seconds is None else [f"{seconds:.3g} s"]))
