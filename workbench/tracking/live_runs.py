"""Figures of work under way, in its MLflow run while it goes on."""

from __future__ import annotations

import math
import time

from workbench.errors import WorkbenchError
from workbench.tracking.mlflow_store import Tracking
from workbench.tracking.runs import log_figures

_EVERY = 1.0  # seconds between two writes, at least: each takes some 10 ms, and a round may take less


class LiveFigures:
    """The figures of an open run: gathered as they come, and written together about once a second.

    Guarantees:
      - nothing is raised where MLflow can't be written: the figures are kept for the next write, and the next one is tried
        twice as late, as each may wait for a lock
      - figures that are not finite are left out
    """

    def __init__(self, tracking: Tracking, run_id: str) -> None:
        self._tracking, self._run_id = tracking, run_id
        self._figures: list[tuple[str, float, int]] = []
        self._pause, self._due = _EVERY, 0.0

    def add(self, step: int, **figures: float) -> None:
        """Takes figures of a step, and writes all that wait where it is time to."""
        told = {"step": step, **figures}
        self._figures += [(f"fit/{name}", float(value), step) for name, value in told.items() if math.isfinite(value)]
        if time.monotonic() >= self._due:
            self.write()

    def write(self) -> None:
        """Writes what waits, if it can be written."""
        try:
            if self._figures:
                log_figures(self._tracking, self._run_id, self._figures)
            self._figures, self._pause = [], _EVERY
        except (WorkbenchError, OSError):  # a mirror: the fit goes on without it
            self._pause *= 2
        self._due = time.monotonic() + self._pause
