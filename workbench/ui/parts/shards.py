"""The shards of an ensemble as a map: which are at work, which wait, and which are done."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import streamlit as st

from workbench.jobs.detail import MOST_SHARDS

State = Literal["idle", "waiting", "at_work", "done"]
_AMBER, _GREEN = "#f0b95c", "#6fd3a0"
_COLOURS: Mapping[State, tuple[str, str]] = {
    "idle": ("#d9dde3", "#1c2024"),
    "waiting": (_AMBER, "#3b2600"),
    "at_work": (_AMBER, "#3b2600"),
    "done": (_GREEN, "#06301b"),
}
_TRAINING: Mapping[State, str] = {"idle": "not begun", "at_work": "being trained", "done": "trained"}
_ERASING: Mapping[State, str] = {
    "waiting": "waits to be trained again",
    "at_work": "being trained again",
    "done": "trained again without the person",
    "idle": "not touched",
}


@dataclass(frozen=True)
class Box:
    """A shard's state, and of one at work the share of its slices that are done."""

    state: State
    share: float = 0.0


def training_map(detail: Mapping[str, Any]) -> None:
    """Shards that are trained for the first time, as the job's row tells: not begun, at work, or done."""
    boxes = {shard: _box_of(detail, shard, otherwise="idle") for shard in range(min(detail["shards"], MOST_SHARDS))}
    _draw(f"{detail['shards']} shards", boxes, _TRAINING)
    done, all_ = detail["total"]
    drawn = f" The first {MOST_SHARDS} shards are drawn." if detail["shards"] > MOST_SHARDS else ""
    st.caption(f"{done} of {all_} slices are trained.{drawn}")


def erasure_map(
    ensemble: str,
    shards: int,
    *,
    waiting: Collection[int],
    retrained: Collection[int] = (),
    detail: Mapping[str, Any] | None = None,
) -> None:
    """A box for each shard: amber where it waits or is at work, green where it was trained again, else grey.

    `detail` is what the erasure's job tells of this ensemble, while it is under way.
    """
    boxes: dict[int, Box] = {}
    for shard in range(min(shards, MOST_SHARDS)):
        if shard in waiting:
            boxes[shard] = _box_of(detail or {}, shard, otherwise="waiting")
        else:
            boxes[shard] = Box("done" if shard in retrained else "idle")
    _draw(f"{shards} shards of {ensemble}", boxes, _ERASING)


def _box_of(detail: Mapping[str, Any], shard: int, *, otherwise: State) -> Box:
    done, all_ = detail.get("slices", {}).get(str(shard), (0, 1))
    if done >= all_:
        return Box("done")
    return Box("at_work", done / all_) if shard in detail.get("at_work", ()) else Box(otherwise)


def _draw(title: str, boxes: Mapping[int, Box], words: Mapping[State, str]) -> None:
    counts = {state: n for state in words if (n := sum(box.state == state for box in boxes.values()))}
    told = f"{title}: " + ", ".join(f"{n} {words[state]}" for state, n in counts.items())
    drawn = "".join(_drawn(str(shard), box) for shard, box in boxes.items())
    keys = "".join(
        f'<span style="margin-right:1.2rem;white-space:nowrap">{_drawn("", Box(state))} {words[state]} ({n})</span>'
        for state, n in counts.items()
    )
    st.html(
        f'<div role="img" aria-label="{escape(told, quote=True)}">'
        f'<div style="display:flex;flex-wrap:wrap;gap:4px">{drawn}</div>'
        f'<div style="margin-top:.6rem;font-size:.85rem">{keys}</div></div>'
    )


def _drawn(text: str, box: Box) -> str:
    paper, ink = _COLOURS[box.state]
    if box.share:  # filled from below as slice after slice is done
        paper = f"linear-gradient(to top, {_GREEN} {box.share:.0%}, {paper} {box.share:.0%})"
    ring = "box-shadow:inset 0 0 0 2px #8a5300;" if box.state == "at_work" else ""
    size = "min-width:2.2rem;padding:.35rem .2rem" if text else "width:.9rem;height:.9rem;vertical-align:middle"
    return (
        f'<span style="display:inline-block;{size};text-align:center;border-radius:.3rem;font-size:.8rem;{ring}'
        f'background:{paper};color:{ink}">{escape(text)}</span>'
    )
