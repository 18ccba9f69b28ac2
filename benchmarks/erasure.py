"""What an erasure costs against training again: prints tables and writes benchmarks/erasure.json.

Adult, and a million rows drawn from a generator that was fitted on Adult. The baseline is the same learner with the same
settings on all rows at once, on one thread like the shards. Retraining is measured in CPU seconds, as the median over random
subjects, each alone and eight at once. End to end is the whole erasure in a warm process, through the same door for an
ensemble of one shard and one of twenty: quarantine, retraining, evaluation, MLflow, purge, byte scan, certificate.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml
from setting import adult, keep

from workbench.config import CONFIGS, SynthesizeConfig, TrainConfig
from workbench.data import catalog
from workbench.data.store import Store
from workbench.generators.registry import generator_of
from workbench.schema.codec import Codec
from workbench.sisa.ensemble import Manifest
from workbench.sisa.learners.naive_bayes import NaiveBayes
from workbench.sisa.shard import fit_whole
from workbench.sisa.task import task_of
from workbench.sisa.training import learner_of, partition_of
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.erasure.erase import erase
from workbench.workflows.training.publish_version import evaluate
from workbench.workflows.training.train import train
from workbench.workflows.training.train_shards import train_shards

MILLION = 1_000_000
SUBJECTS = 20
GROUP = 8
PARTITIONS = ((20, 1), (20, 5))
END_TO_END = 5
LEARNERS = ("gradient_boosting", "mlp", "naive_bayes")
_LONG = 20.0  # CPU seconds, from which on the baseline is measured once
# Equal slices, work in proportion to rows: a request costs (2R + 1) / 3R of a shard; eight touch 1 - (1 - 1/S)^8 of all shards
THEORY = {(20, 1): (20.0, 2.97), (20, 5): (27.3, 3.93)}

Row = dict[str, Any]


def cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def million(workspace: Workspace) -> None:
    """Ingests a million artificial people, who share Adult's schema."""
    with workspace.engine.connect() as connection:
        records = catalog.store(connection, workspace, "adult").read("train")
    fitted = generator_of(SynthesizeConfig(generator="aim", dataset="adult", epsilon=10.0, delta=1e-5)).fit(records)
    frame = Codec(records.schema).decode(fitted.sample(MILLION, rng=np.random.default_rng(0)))
    schema = yaml.safe_load((CONFIGS / "datasets" / "adult.yaml").read_text())
    schema |= {"population": "million", "identity_type": "million-row", "holdout": {"share": 0.02}}
    data, declared = workspace.root.parent / "million.parquet", workspace.root.parent / "million.yaml"
    frame.to_parquet(data)
    declared.write_text(yaml.safe_dump(schema, sort_keys=False))
    ingest(workspace, "million", schema=declared, data=data)


def config_of(dataset: str, learner: str, shards: int, slices: int) -> TrainConfig:
    rows = 32_000 if dataset == "adult" else MILLION
    return TrainConfig(learner=learner, dataset=dataset, shards=shards, slices=slices, rows=rows)


def manifest_of(workspace: Workspace, store: Store, config: TrainConfig) -> Manifest:
    trained = train_shards(workspace, store, config, dict.fromkeys(range(config.shards), 0))
    return Manifest(
        ensemble="benchmark",
        version=1,
        dataset=config.dataset,
        config=config.model_dump(mode="json"),
        schema=store.schema.digest(),
        constituents=tuple(trained[shard].constituent for shard in range(config.shards)),
    )


def firsts_of(store: Store, manifest: Manifest, rng: np.random.Generator, size: int) -> dict[int, int]:
    """The earliest touched slice of each shard that `size` random subjects touch."""
    records = store.read("train")
    chosen = rng.choice(len(records), size, replace=False)
    shards = manifest.partition.shard_of(records.points[chosen]).tolist()
    slices = manifest.partition.slice_of(records.slice_points[chosen]).tolist()
    return {shard: min(r for s, r in zip(shards, slices, strict=True) if s == shard) for shard in set(shards)}


def measure(workspace: Workspace, store: Store, learner: str) -> list[Row]:
    """Each partition against one shard of one slice, whose settings are those of the partition."""
    rows = []
    for shards, slices in PARTITIONS:
        config, rng = config_of(store.name, learner, shards, slices), np.random.default_rng(0)
        # the baseline has the settings of the shards, not those that its own size would give it
        whole = config.model_copy(update={"shards": 1, "slices": 1})
        took = [cpu_seconds(lambda c=whole: manifest_of(workspace, store, c))]  # type: ignore[misc]
        while took[0] < _LONG and len(took) < 3:
            took.append(cpu_seconds(lambda c=whole: manifest_of(workspace, store, c)))  # type: ignore[misc]
        baseline = statistics.median(took)
        best = config.partitioned(1, 1)
        whole_auc = evaluate(workspace, store, manifest_of(workspace, store, best))["auc"].value
        everything = cpu_seconds(lambda c=config: manifest_of(workspace, store, c))  # type: ignore[misc]
        manifest = manifest_of(workspace, store, config)
        cost = {}
        for size in (1, GROUP):
            groups = [firsts_of(store, manifest, rng, size) for _ in range(SUBJECTS)]
            cost[size] = [
                cpu_seconds(lambda g=g, c=config, m=manifest: train_shards(workspace, store, c, g, m))  # type: ignore[misc]
                for g in groups
            ]
        one, group = statistics.median(cost[1]), statistics.median(cost[GROUP])
        auc = evaluate(workspace, store, manifest)["auc"].value
        row = {
            "dataset": store.name,
            "learner": learner,
            "shards": shards,
            "slices": slices,
            "whole_model_s": baseline,
            "all_shards_s": everything,
            "one_subject_s": one,
            "eight_subjects_s": group,
            "one_vs_whole_model": baseline / one,
            "one_vs_whole_model_mean": baseline / statistics.mean(cost[1]),
            "eight_vs_whole_model": baseline / group,
            "all_shards_vs_whole_model": everything / baseline,
            "auc": auc,
            "auc_of_whole": whole_auc,
        }
        told = THEORY[shards, slices]
        print(
            f"{store.name:8} {learner:18} S={shards} R={slices} | whole {baseline:6.2f} s, all shards {everything:6.2f} s"
            f" ({everything / baseline:.2f}x) | one {one:.3f} s, {baseline / one:5.1f}x (theory {told[0]}x)"
            f" | eight {group:.3f} s, {baseline / group:4.1f}x (theory {told[1]}x)"
            f" | AUC {auc:.4f}, whole {whole_auc:.4f}, lost {100 * (whole_auc - auc):.2f} pp",
            flush=True,
        )
        rows.append(row)
    return rows


def subtraction(store: Store) -> float:
    """Median seconds that naive Bayes takes to forget one row of a shard of Adult, S = 20; its bytes are those of counting."""
    config = config_of("adult", "naive_bayes", 20, 1)
    learner, task = cast(NaiveBayes, learner_of(config)), task_of(store.schema)
    records = store.read("train", partition_of(config).interval(0))
    model, took = fit_whole(learner, records.features, records.target, task=task), []
    for row in range(200):
        rest = np.delete(np.arange(len(records)), row)
        started = time.perf_counter()
        left = learner.forget(model, records.features[[row]], records.target[[row]], task=task)
        took.append(time.perf_counter() - started)
        if row < 5:
            assert left == fit_whole(learner, records.features[rest], records.target[rest], task=task)
    return statistics.median(took)


def first_training(root: Path) -> Row:
    """Wall seconds of twenty shards on all cores, and of one LightGBM with a thread a core, each in a fresh process."""
    return {name: _timed(root, name) for name in ("shards", "one model")}


def _timed(root: Path, what: str) -> Row:
    command = [sys.executable, __file__, "--time", what, str(root)]
    environment = {k: v for k, v in os.environ.items() if k != "WORKBENCH_PROCESSES"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    seconds, peak = map(float, done.stdout.split()[-2:])
    return {"seconds": seconds, "peak_mb": peak}


def time_one(root: Path, what: str) -> None:
    """Prints wall seconds and the peak memory of this process and its children."""
    import resource

    workspace = Workspace.open(root)
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, "million")
    config, started = config_of("million", "gradient_boosting", 20, 5), time.perf_counter()
    if what == "shards":
        manifest_of(workspace, store, config)
    else:
        import lightgbm as lgb

        records = store.read("train")
        settings = {
            "objective": "binary",
            "num_leaves": config.leaves,
            "learning_rate": config.learning_rate,
            "num_threads": os.cpu_count(),
            "verbosity": -1,
        }
        lgb.train(settings, lgb.Dataset(records.features, records.target), config.rounds or 0)
    seconds = time.perf_counter() - started
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(seconds, (own + children * (os.cpu_count() or 1)) / 1024)


def end_to_end(workspace: Workspace, dataset: str, shards: int, slices: int, people: Iterator[str]) -> Row:
    """Median wall and CPU seconds of an erasure in a warm process."""
    answer = train(workspace, config_of(dataset, "gradient_boosting", shards, slices))
    took = []
    while len(took) <= END_TO_END:
        person = next(people)
        started, cpu = time.perf_counter(), time.process_time()
        if erase(workspace, [person], dataset=dataset).requests[0].status != "completed":  # held out
            continue
        took.append((time.perf_counter() - started, time.process_time() - cpu))
    from workbench.workflows.erasure.retire import retire

    retire(workspace, answer.ensemble)
    wall, cpu = (statistics.median(t[i] for t in took[1:]) for i in (0, 1))  # the first also warms the process up
    row = {"dataset": dataset, "shards": shards, "slices": slices, "seconds": wall, "cpu_s": cpu}
    print(f"end to end, {dataset}, S={shards} R={slices}: {wall:.2f} s, {cpu:.2f} CPU s", flush=True)
    return row


def main() -> None:
    if sys.argv[1:2] == ["--time"]:
        return time_one(Path(sys.argv[3]), sys.argv[2])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learners", nargs="+", choices=LEARNERS, default=list(LEARNERS))
    parser.add_argument("--small", action="store_true", help="Adult alone; writes no file")
    asked = parser.parse_args()
    os.environ["WORKBENCH_PROCESSES"] = "1"  # CPU seconds of this process are then all there are
    result: Row = {"subjects": SUBJECTS, "partitions": [], "end_to_end": []}
    with adult() as workspace:
        tables = ["adult"] if asked.small else ["adult", "million"]
        if not asked.small:
            million(workspace)
        for dataset in tables:
            with workspace.engine.connect() as connection:
                store = catalog.store(connection, workspace, dataset)
            for learner in asked.learners:
                result["partitions"] += measure(workspace, store, learner)
            if dataset == "adult":
                result["naive_bayes_forget_s"] = subtraction(store)
                print(f"naive Bayes forgets a row in {1000 * result['naive_bayes_forget_s']:.3f} ms")
        if not asked.small:
            first = result["first_training"] = first_training(workspace.root)
            ratio = first["shards"]["seconds"] / first["one model"]["seconds"]
            print(
                f"first training of a million rows, S=20 R=5: {first['shards']['seconds']:.1f} s and"
                f" {first['shards']['peak_mb']:.0f} MB, {ratio:.2f}x of one LightGBM on all cores"
                f" ({first['one model']['seconds']:.1f} s)"
            )
        people = map(str, np.random.default_rng(1).permutation(30_000))
        for dataset, shards, slices in [(d, *p) for d in tables for p in ((1, 1), (20, 5))] + [("adult", 100, 50)]:
            result["end_to_end"].append(end_to_end(workspace, dataset, shards, slices, people))
    if not asked.small:
        keep(__file__, result)
    return None


if __name__ == "__main__":
    main()
