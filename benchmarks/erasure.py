"""What an erasure costs against training again: prints a table and writes benchmarks/erasure.json.

Adult, boosted trees, one thread. Retraining is measured in CPU seconds, as the median over random subjects, each alone and
eight at once; the baseline is the same learner with the same settings on all rows at once. The end-to-end figure is wall
time of the whole erasure in a warm process: quarantine, retraining, evaluation, MLflow, purge, byte scan, certificate.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from setting import ROWS, adult, config_of, keep

from workbench.config import TrainConfig
from workbench.data import catalog
from workbench.data.store import Store
from workbench.sisa.ensemble import Manifest
from workbench.workflows.erase import erase
from workbench.workflows.publish import evaluate, train_shards
from workbench.workflows.train import train
from workbench.workspace import Workspace

SUBJECTS = 20
GROUP = 8
PARTITIONS = ((8, 4), (20, 1), (20, 5))
END_TO_END = 5


def cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def manifest_of(workspace: Workspace, store: Store, config: TrainConfig) -> Manifest:
    trained = train_shards(workspace, store, config, dict.fromkeys(range(config.shards), 0))
    return Manifest(
        ensemble="benchmark",
        version=1,
        dataset="adult",
        config=config.model_dump(),
        schema=store.schema.digest(),
        constituents=tuple(trained[shard].constituent for shard in range(config.shards)),
    )


def firsts_of(store: Store, config: TrainConfig, rng: np.random.Generator, size: int) -> dict[int, int]:
    """The earliest touched slice of each shard that `size` random subjects touch."""
    records = store.read("train")
    chosen = rng.choice(len(records), size, replace=False)
    manifest = Manifest(ensemble="", version=1, dataset="", config=config.model_dump(), schema="", constituents=())
    shards = manifest.partition.shard_of(records.points[chosen]).tolist()
    slices = manifest.partition.slice_of(records.slice_points[chosen]).tolist()
    return {shard: min(r for s, r in zip(shards, slices, strict=True) if s == shard) for shard in set(shards)}


def measure(workspace: Workspace, store: Store, shards: int, slices: int, whole: float) -> dict[str, Any]:
    config, rng = config_of(shards, slices), np.random.default_rng(0)
    everything = cpu_seconds(lambda: manifest_of(workspace, store, config))
    manifest = manifest_of(workspace, store, config)

    def median(size: int) -> float:
        groups = [firsts_of(store, config, rng, size) for _ in range(SUBJECTS)]
        return statistics.median(
            cpu_seconds(lambda g=g: train_shards(workspace, store, config, g, manifest)) for g in groups
        )  # type: ignore[misc]

    one, group = median(1), median(GROUP)
    return {
        "shards": shards,
        "slices": slices,
        "train_all_shards_s": everything,
        "one_subject_s": one,
        "eight_subjects_s": group,
        "one_vs_whole_model": whole / one,
        "eight_vs_whole_model": whole / group,
        "one_vs_all_shards": everything / one,
        "auc": evaluate(workspace, store, manifest)["auc"].value,
    }


def end_to_end(workspace: Workspace) -> float:
    train(workspace, config_of(20, 5))
    rng = np.random.default_rng(1)
    rows = [str(row) for row in rng.choice(ROWS, END_TO_END + 1, replace=False)]
    seconds = [erase(workspace, [row], dataset="adult")["seconds"] for row in rows]
    return statistics.median(seconds[1:])  # the first also warms the process up


def main() -> None:
    with adult() as workspace:
        with workspace.engine.connect() as connection:
            store = catalog.store(connection, workspace, "adult")
        single = config_of(1, 1)
        whole = statistics.median(cpu_seconds(lambda: manifest_of(workspace, store, single)) for _ in range(3))
        whole_auc = evaluate(workspace, store, manifest_of(workspace, store, single))["auc"].value
        rows = [measure(workspace, store, shards, slices, whole) for shards, slices in PARTITIONS]
        seconds = end_to_end(workspace)
    result = {
        "subjects": SUBJECTS,
        "whole_model": {"train_s": whole, "auc": whole_auc},
        "partitions": rows,
        "end_to_end_s": seconds,
    }
    keep(__file__, result)
    print(f"one whole model: {whole:.2f} CPU s, AUC {whole_auc:.4f}")
    print(" S  R | all shards | one subject      | eight at once    | AUC")
    for row in rows:
        print(
            f"{row['shards']:2} {row['slices']:2} | {row['train_all_shards_s']:8.2f} s | "
            f"{row['one_subject_s']:.3f} s {row['one_vs_whole_model']:6.1f}x | "
            f"{row['eight_subjects_s']:.3f} s {row['eight_vs_whole_model']:6.1f}x | {row['auc']:.4f}"
        )
    print(f"end to end, one subject, S=20 R=5, warm: {seconds:.2f} s (median of {END_TO_END})")


if __name__ == "__main__":
    main()
