"""How soon a person is left out once their request is accepted: prints a table and writes benchmarks/quarantine.json.

Adult, the demo's ensemble, one warm process that keeps the database open as a worker does, files on the disk that holds
the temporary folder. 300 people ask one after another, then 1,000 beside a thread that predicts one row over and over; each
request is withdrawn again before the next. `last use` is the time from the call of `submit` to the last return of a
prediction that had used the person's shard; `submit` is called at a random moment of a prediction.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from setting import ROWS, adult, config_of, keep

from workbench.data.bundled import bundled_path
from workbench.erasure.locate import locate
from workbench.erasure.request import submit, withdraw
from workbench.sisa.ensemble import Manifest
from workbench.state.workspace import Workspace
from workbench.workflows.training import predict
from workbench.workflows.training.publish_version import current_versions, read_manifest
from workbench.workflows.training.train import train

ALONE, BESIDE = (300, 15.0), (1_000, 60.0)  # submissions, or as many of them as a busy machine makes in so many seconds
TARGETS = {"submit": {"p50": 30.0, "p99": 100.0}, "last use": {"p99": 100.0}}


@dataclass
class Predictor:
    """A thread that predicts in a loop and keeps, per answer, when it was asked and returned and which shards it used."""

    root: Path
    ensemble: str
    frame: pd.DataFrame
    answers: list[tuple[float, float, frozenset[int]]] = field(default_factory=list)
    seconds: float = 0.0
    stop: bool = False

    def run(self) -> None:
        vote, used = predict._vote, frozenset[int]()

        def watched(
            workspace: Workspace, manifest: Manifest, schema: Any, quarantined: frozenset[int], rows: Any
        ) -> Any:
            nonlocal used
            used = frozenset(range(len(manifest.constituents))) - quarantined
            return vote(workspace, manifest, schema, quarantined, rows)

        predict._vote = watched
        while not self.stop:
            asked = time.perf_counter()
            predict.predict_frame(self.root, self.ensemble, self.frame)
            self.answers.append((asked, time.perf_counter(), used))
            self.seconds = time.perf_counter() - asked
        predict._vote = vote

    def last_use(self, shard: int, since: float) -> float:
        """Seconds from `since` to the last answer that used the shard; waits for one asked and returned later than now."""
        now = time.perf_counter()
        while not self.answers or self.answers[-1][0] < now:
            time.sleep(0.001)
        returned = [returned for _, returned, used in self.answers if shard in used and returned > since]
        self.answers.clear()
        return max(returned, default=since) - since


def submissions(
    workspace: Workspace, manifest: Manifest, most: tuple[int, float], predictor: Predictor | None
) -> dict[str, list[float]]:
    (n, seconds), rng = most, np.random.default_rng(0)
    people = [str(row) for row in rng.choice(ROWS, n + 20, replace=False)]
    deadline = time.perf_counter() + seconds
    figures: dict[str, list[float]] = {"submit": [], "last use": []}
    for number, key in enumerate(people):
        place = locate(workspace, [("adult", key)])[0]
        shard = int(manifest.partition.shard_of(np.array([place.point], dtype=np.uint64))[0])
        if predictor:  # else every call would meet the same moment of a prediction: the last answer is waited for below
            time.sleep(rng.uniform(0, predictor.seconds))
        called = time.perf_counter()
        receipt = submit(workspace, ["adult"], key)
        taken = time.perf_counter() - called
        last = predictor.last_use(shard, called) if predictor and place.split == "train" else None
        if number >= 20:  # the first ones warm the process up
            figures["submit"].append(taken)
            figures["last use"] += [] if last is None else [last]
        withdraw(workspace, receipt.id, status="cancelled", reason="cancelled")
        if time.perf_counter() > deadline:
            break
    return figures


def summary(seconds: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(np.array(seconds) * 1000, [50, 99])
    return {"n": len(seconds), "p50": round(float(p50), 2), "p99": round(float(p99), 2)}


def main() -> None:
    with adult() as workspace, workspace.engine.connect():
        ensemble = train(workspace, config_of(8, 4))
        name = ensemble.ensemble
        with workspace.engine.connect() as connection:
            manifest = read_manifest(workspace, current_versions(connection)[name])
        rows: dict[str, Any] = {"submit, alone": summary(submissions(workspace, manifest, ALONE, None)["submit"])}
        predictor = Predictor(workspace.root, name, pd.read_parquet(bundled_path("adult.parquet")).head(1))
        thread = threading.Thread(target=predictor.run)
        thread.start()
        try:
            beside = submissions(workspace, manifest, BESIDE, predictor)
        finally:
            predictor.stop = True
            thread.join()
        rows |= {f"{figure}, beside predictions": summary(values) for figure, values in beside.items()}
    result = {
        "unit": "ms",
        "targets": TARGETS,
        "figures": rows,
    }
    keep(__file__, result)
    print(f"{'':30} {'n':>5} {'p50':>9} {'p99':>9}")
    for what, row in rows.items():
        print(f"{what:30} {row['n']:5} {row['p50']:6.1f} ms {row['p99']:6.1f} ms")


if __name__ == "__main__":
    main()
