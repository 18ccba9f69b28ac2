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
        self._calls = Counter(
            "workbench_api_calls",
            "Calls answered since the start, by method, template of the route and status.",
            labels,
            registry=registry,
        )
        self._seconds = Histogram(
            "workbench_api_seconds",
            "Seconds from the first byte of a call to the last of its answer, by template of the route.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._rows = Counter(
            "workbench_api_predicted_rows", "Rows that predictions were given for since the start.", registry=registry
        )
        self._gauges = {
            "requests": Gauge(
                "workbench_requests", "Erasure requests in the workspace, by status.", ("of",), registry=registry
            ),
            "overdue": Gauge(
                "workbench_overdue", "What is past its due date: open erasure requests.", ("of",), registry=registry
            ),
            "callbacks": Gauge(
                "workbench_callbacks", "Addresses that are still to be told of a request.", ("of",), registry=registry
            ),
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
