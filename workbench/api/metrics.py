"""Counts and times for Prometheus: nothing in them comes from a table or a caller's text."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """What one server has counted since it was started."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._calls = Counter("workbench_api_calls", "Calls answered.", labels, registry=registry)
        self._seconds = Histogram(
            "workbench_api_seconds", "Seconds per call.", ("route",), buckets=_SECONDS, registry=registry
        )
        self._rows = Counter("workbench_api_predicted_rows", "Rows predicted.", registry=registry)
        self._gauges = {
            "requests": Gauge("workbench_requests", "Erasure requests by status.", ("of",), registry=registry),
            "overdue": Gauge("workbench_overdue", "What is overdue.", ("of",), registry=registry),
            "callbacks": Gauge("workbench_callbacks", "Callbacks that may still be due.", ("of",), registry=registry),
        }

    def called(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts a call; `route` is the template."""
        self._calls.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def predicted(self, rows: int) -> None:
        """Counts rows."""
        self._rows.inc(rows)

    def text(self, counts: Mapping[str, Mapping[str, int]]) -> bytes:
        """All of it in Prometheus' format, with the workspace's counts of this moment."""
        for name, gauge in self._gauges.items():
            gauge.clear()
            for of, number in counts[name].items():
                gauge.labels(of).set(number)
        return generate_latest(self._registry)
