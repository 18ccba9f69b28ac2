"""What evidence costs: prints a table and writes benchmarks/evidence.json.

Adult, the demo's ensemble, one warm process. `verify` checks a certificate against the workspace, with `--replay` by training
the affected shards again too. MLflow's book-keeping is the time an erasure spends in calls of the tracking room, its purge
included. Purge and scan are the erasure's steps of that name, with one ensemble and with ten. All are medians.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import isfunction
from pathlib import Path
from typing import Any

import numpy as np
from setting import ROWS, adult, config_of, keep

from workbench.state.workspace import Workspace
from workbench.workflows.erasure import certify, check_erasure, steps
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.verify import verify
from workbench.workflows.training import publish_version as publish
from workbench.workflows.training.train import train

SHARDS, SLICES = 8, 4
ERASURES, VERIFICATIONS, MANY = 5, 5, 10
TARGETS = {"verify_s": 2.0, "certificate_bytes": 100_000, "mlflow_s": 1.0, "times_at_10x": 10.0}


@contextmanager
def timed(seconds: dict[str, float]) -> Iterator[None]:
    """Adds up what the erasures inside take in MLflow, in the purge and in the scan."""
    before = [(module, dict(vars(module))) for module in (publish, steps, check_erasure, certify)]

    def watched(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                seconds[what] = seconds.get(what, 0.0) + time.perf_counter() - started

        return call

    for module, names in before:
        for name, value in names.items():
            if isfunction(value) and value.__module__.startswith("workbench.tracking"):
                setattr(module, name, watched("mlflow", value))
    check_erasure.scan_bytes = watched("scan", check_erasure.scan_bytes)
    after, purge = steps.STEPS["published"]
    steps.STEPS["published"] = (after, watched("purge", purge))
    try:
        yield
    finally:
        steps.STEPS["published"] = (after, purge)
        for module, names in before:
            vars(module).update(names)


def erasures(workspace: Workspace, keys: Iterator[str], n: int) -> tuple[dict[str, float], list[Path]]:
    """The medians over `n` erasures of one person, and their certificates."""
    runs: list[dict[str, float]] = []
    certificates = []
    for _ in range(n):
        seconds: dict[str, float] = {}
        with timed(seconds):
            answer = erase(workspace, [next(keys)], dataset="adult")
        runs.append(seconds | {"erasure": answer.seconds})
        certificates.append(Path(answer.requests[0].certificate))
    return {what: statistics.median(run[what] for run in runs) for what in runs[0]}, certificates


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(workspace: Workspace) -> dict[str, Any]:
    keys = iter([str(row) for row in np.random.default_rng(0).choice(ROWS, 100, replace=False)])
    train(workspace, config_of(SHARDS, SLICES))
    erasures(workspace, keys, 1)  # warms the process up
    one, certificates = erasures(workspace, keys, ERASURES)
    certificate = certificates[-1]
    plain = [seconds_of(lambda: verify(workspace, certificate)) for _ in range(VERIFICATIONS)]
    replay = [seconds_of(lambda: verify(workspace, certificate, replay=True)) for _ in range(VERIFICATIONS)]
    size = max(path.stat().st_size for path in certificates)
    for seed in range(1, MANY):
        train(workspace, config_of(SHARDS, SLICES).model_copy(update={"seed": seed}))
    many, _ = erasures(workspace, keys, 3)
    verify_many = [seconds_of(lambda: verify(workspace, certificate)) for _ in range(VERIFICATIONS)]
    return {
        "verify_s": statistics.median(plain),
        "verify_replay_s": statistics.median(replay),
        "verify_at_10x_s": statistics.median(verify_many),
        "certificate_bytes": size,
        "one_ensemble": one,
        "ten_ensembles": many,
        "times_at_10x": (many["purge"] + many["scan"]) / (one["purge"] + one["scan"]),
    }


def main() -> None:
    with adult() as workspace:
        result = measure(workspace)
    keep(__file__, {"shards": SHARDS, "slices": SLICES, "targets": TARGETS, **result})
    print(f"verify             {result['verify_s']:8.3f} s, at ten ensembles {result['verify_at_10x_s']:.3f} s")
    print(f"verify --replay    {result['verify_replay_s']:8.3f} s")
    print(f"certificate        {result['certificate_bytes']:8} bytes")
    print(f"{'':18} {'1 ensemble':>10} {'10 ensembles':>12}")
    for what in ("mlflow", "purge", "scan", "erasure"):
        print(f"{what:18} {result['one_ensemble'][what]:8.3f} s {result['ten_ensembles'][what]:10.3f} s")
    print(f"purge and scan: {result['times_at_10x']:.1f} times as long for ten times the ensembles")


if __name__ == "__main__":
    main()
