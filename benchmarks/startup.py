"""What a command costs that neither fits nor trains: prints a table and writes benchmarks/startup.json.

German Credit, with a release, an ensemble and an erasure. Each command is a new process; its CPU seconds (user and system) are
the median of `REPEATS` on files that were read before.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from setting import keep

from workbench.config import SynthesizeConfig, TrainConfig
from workbench.workflows.datasets.budget import set_budget
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.erasure.erase import erase
from workbench.workflows.operations.initialise import initialise
from workbench.workflows.synthesis.synthesize import synthesize
from workbench.workflows.training.train import train

REPEATS = 3
TARGET = 1.0


def prepared(root: Path) -> tuple[str, str]:
    """A workspace with something to show of each kind; returns its generator and its request."""
    workspace = initialise(root)
    ingest(workspace, "german")
    set_budget(workspace, "german", epsilon=4, delta=1e-5)
    made = synthesize(
        workspace,
        SynthesizeConfig.model_validate({"generator": "independent", "dataset": "german", "epsilon": 1, "delta": 1e-5}),
    )
    train(workspace, TrainConfig(learner="gradient_boosting", dataset="german", shards=2, slices=2))
    request = erase(workspace, ["17"]).requests[0].request
    return made.generator, request


def commands(root: Path, generator: str, request: str) -> list[list[str]]:
    """Every command that neither fits nor trains, by what it is called with."""
    certificate = str(root / "certificates" / f"{request}.json")
    return [
        line.split()
        for line in (
            "--help",
            f"--workspace {root}-%d init",
            "ledger show german",
            "ledger budget german --epsilon 4 --delta 1e-5",
            "lineage german",
            "requests list",
            f"requests show {request}",
            "policy german --set due_days=20",
            "doctor",
            "jobs list",
            "keys list",
            "tokens list",
            f"verify {certificate}",
            f"certificate {certificate} --html {root}.html",
            f"suppressions export {root}.list.json",
            "scan --for absent-text",
            "erase --dataset german 19 --dry-run",
            "synthesize configs/generators/mst.yaml --set dataset=german --set epsilon=1 --plan",
            "resume",
            f"sample {generator} -n 10 --out {root}.csv",
            f"backup {root}.%d.tar.zst",
        )
    ]


def cpu_seconds(root: Path, arguments: list[str]) -> float:
    """CPU seconds of a process of its own; raises CalledProcessError where the command fails."""
    before = os.times()
    subprocess.run(
        [sys.executable, "-m", "workbench", *arguments],
        env=os.environ | {"WORKBENCH_HOME": str(root)},
        capture_output=True,
        check=True,
    )
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "workspace"
        rows: dict[str, float] = {}
        ids = prepared(root)
        for arguments in commands(root, *ids):
            name = " ".join("ID" if a in ids else a for a in arguments if not a.startswith(folder))
            seconds = [cpu_seconds(root, [a.replace("%d", str(n)) for a in arguments]) for n in range(REPEATS)]
            rows[name] = round(statistics.median(seconds), 2)
            print(f"{rows[name]:6.2f}  {name}", flush=True)
    keep(__file__, {"unit": "CPU seconds, median", "target": TARGET, "figures": rows})


if __name__ == "__main__":
    main()
