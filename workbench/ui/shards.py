"""The shards of an ensemble as a map: which ones a request waits for, and which were trained again."""

from __future__ import annotations

from collections.abc import Collection
from html import escape

import streamlit as st

_MOST = 400
_COLOURS = {"waiting": ("#f0b95c", "#3b2600"), "retrained": ("#6fd3a0", "#06301b"), "untouched": ("#d9dde3", "#1c2024")}
_TOLD = {
    "waiting": "waits to be trained again",
    "retrained": "trained again without the person",
    "untouched": "not touched",
}


def shard_map(ensemble: str, shards: int, *, waiting: Collection[int], retrained: Collection[int]) -> None:
    """A box for each shard: amber where it waits, green where it was trained again, grey where nothing happens to it."""
    states = {shard: _state(shard, waiting, retrained) for shard in range(min(shards, _MOST))}
    counts = {state: sum(s == state for s in states.values()) for state in _TOLD}
    told = f"{shards} shards of {ensemble}: " + ", ".join(f"{n} {_TOLD[s]}" for s, n in counts.items() if n)
    boxes = "".join(_box(str(shard), state) for shard, state in states.items())
    keys = "".join(
        f'<span style="margin-right:1.2rem;white-space:nowrap">{_box("", state)} {_TOLD[state]} ({n})</span>'
        for state, n in counts.items()
        if n
    )
    st.html(
        f'<div role="img" aria-label="{escape(told, quote=True)}">'
        f'<div style="display:flex;flex-wrap:wrap;gap:4px">{boxes}</div>'
        f'<div style="margin-top:.6rem;font-size:.85rem">{keys}</div></div>'
    )


def _state(shard: int, waiting: Collection[int], retrained: Collection[int]) -> str:
    return "waiting" if shard in waiting else "retrained" if shard in retrained else "untouched"


def _box(text: str, state: str) -> str:
    paper, ink = _COLOURS[state]
    size = "min-width:2.2rem;padding:.35rem .2rem" if text else "width:.9rem;height:.9rem;vertical-align:middle"
    return (
        f'<span style="display:inline-block;{size};text-align:center;border-radius:.3rem;font-size:.8rem;'
        f'background:{paper};color:{ink}">{escape(text)}</span>'
    )
