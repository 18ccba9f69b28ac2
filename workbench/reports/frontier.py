"""Accuracy of ensembles against what an erasure costs them, as one SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any


def draw(choices: Sequence[Mapping[str, Any]], recommended: Mapping[str, int], metric: str) -> bytes:
    """A point for each number of shards and slices, the recommended one ringed; equal figures give equal bytes."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullLocator

    with mpl.rc_context({"svg.hashsalt": "workbench", "svg.fonttype": "none"}):
        figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
        for slices, marker in zip(sorted({c["slices"] for c in choices}), "osD^v", strict=False):
            own = [c for c in choices if c["slices"] == slices]
            values = [c[metric] for c in own]
            spread = [[c[metric] - c["low"] for c in own], [c["high"] - c[metric] for c in own]]
            label = f"{slices} slice{'s' if slices > 1 else ''}"
            axis.errorbar(
                [c["one_request_s"] for c in own], values, yerr=spread, marker=marker, capsize=3, ls=":", label=label
            )
            for c in own:
                axis.annotate(f"S={c['shards']}", (c["one_request_s"], c[metric]), (4, 5), textcoords="offset points")
        for c in choices:
            if (c["shards"], c["slices"]) == (recommended["shards"], recommended["slices"]):
                axis.plot(c["one_request_s"], c[metric], "o", ms=16, fillstyle="none", color="C3", label="recommended")
        axis.set(
            xscale="log", xlabel="retraining for one erasure (s)", ylabel=f"{metric} of the ensemble (95 % interval)"
        )
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_locator(NullLocator())
        axis.margins(x=0.12)
        axis.grid(alpha=0.3)
        axis.legend()
        content = io.BytesIO()
        figure.savefig(content, format="svg", metadata={"Date": None})
        plt.close(figure)
    return content.getvalue()
