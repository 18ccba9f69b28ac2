"""How the suite runs: what files cost, in which order tests come, and where nothing may be skipped."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Generator, Iterator
from time import monotonic
from typing import Any

import forked
import pytest

SEED = "WORKBENCH_TEST_SEED"
SLOWEST = 10
CI = "WORKBENCH_CI"


class _Cost:
    """Notes on each report what its phase took: seconds, and CPU seconds of this process and of its children that ended."""

    def __init__(self) -> None:
        self.since = _now()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        report: Any = yield
        now = _now()
        report.took = (now[0] - self.since[0], now[1] - self.since[1])
        self.since = now
        return report


def _now() -> tuple[float, float]:
    return monotonic(), sum(os.times()[:4]) + forked.cpu_seconds()


class _Slowest:
    """Prints the slowest files at the end."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.cpu: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        seconds, cpu = getattr(report, "took", (0.0, 0.0))
        file = report.nodeid.partition("::")[0]
        self.seconds[file] += seconds
        self.cpu[file] += cpu

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if len(self.seconds) > 1:
            terminalreporter.section(f"slowest of {len(self.seconds)} files: seconds, CPU seconds")
            for file, seconds in self.seconds.most_common(SLOWEST):
                terminalreporter.write_line(f"{seconds:8.1f} {self.cpu[file]:8.1f}  {file}")
            total = f"{sum(self.seconds.values()):8.1f} {sum(self.cpu.values()):8.1f}"
            terminalreporter.write_line(f"{total}  in all")


class _NoSkips:
    """Fails every test or file that is skipped: the machine was set up for all of them."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, Any, Any]:
        return _failed_if_skipped((yield))

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self) -> Generator[None, Any, Any]:
        return _failed_if_skipped((yield))


def _failed_if_skipped(report: Any) -> Any:
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{report.longrepr[2]}. {CI}=1 says that this machine has all that the tests need."
    return report


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Cost())
    if os.environ.get(CI) == "1":
        config.pluginmanager.register(_NoSkips())
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Slowest())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files, and tests within files, in the random order of a seed; every worker comes to the same one."""
    if seed := os.environ.get(SEED):
        chance = random.Random(seed)
        files: dict[str, list[pytest.Item]] = {}
        for item in items:
            files.setdefault(item.nodeid.partition("::")[0], []).append(item)
        names = sorted(files)
        chance.shuffle(names)
        for name in names:
            chance.shuffle(files[name])
        items[:] = [item for name in names for item in files[name]]


def pytest_report_header() -> list[str]:
    return [f"order of tests: seed {seed}"] if (seed := os.environ.get(SEED)) else []
