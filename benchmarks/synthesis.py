"""How good and how fast the generators are: prints tables, writes benchmarks/synthesis.json and docs/utility.svg.

Each fit is a process of its own that loads the training records, fits, and draws as many rows as there were: its seconds are
those of the fit alone, its memory the process's peak. On a busy machine CPU seconds say more than seconds. Private figures
scatter from fit to fit: means of three, with the range. `--peer NAME=PYTHON` also runs benchmarks/peers/NAME.py on Adult
with that interpreter. What a run measures takes the place of the same figures in the file, so that parts can be run apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from score import score
from setting import keep

from workbench.config import SynthesizeConfig
from workbench.data import catalog
from workbench.data.dataset import Dataset
from workbench.generators.registry import GENERATORS as REGISTERED
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.operations.initialise import initialise

HERE = Path(__file__).parent
RUNS = 3
DELTA = 1e-5
EPSILONS = (0.3, 1.0, 3.0, 10.0)
DATASETS = ("adult", "oulad", "german")
NOT_PRIVATE = tuple(spec.name for spec in REGISTERED if not spec.private)
MARGINAL = tuple(spec.name for spec in REGISTERED if "shards" in spec.settings.model_fields)
GENERATORS = REGISTERED.names()
LARGE = 1_000_000  # rows, drawn from Adult with replacement
# generator -> metric -> (the bar, what would be outstanding), on Adult at epsilon 1; CPU seconds bound those of an idle machine
TARGETS = {
    "aim": {"auc": (0.900, 0.912), "tvd2": (0.028, 0.028), "tvd3": (0.061, 0.052), "fit_cpu_s": (60, 25)},
    "mst": {"auc": (0.82, 0.82), "tvd2": (0.045, 0.043), "fit_cpu_s": (15, 4)},
}
# Measured elsewhere, once each, on a 2-core machine with other work: Adult without fnlwgt, delta 1e-5, scored as here.
# dpmm and TabularARGN spend 0.1 more on preprocessing.
PUBLISHED = (
    {"name": "dpmm 0.1.9 MST", "epsilon": 1.1, "tvd3": 0.102, "auc": 0.828, "fit_s": 273},
    {"name": "dpmm 0.1.9 PrivBayes", "epsilon": 1.1, "tvd3": 0.120, "auc": 0.883, "fit_s": 360},
    {"name": "TabularARGN-DP 2.7.3", "epsilon": 1.1, "tvd3": 0.207, "auc": 0.853, "fit_s": 552},
    {"name": "smartnoise-synth 1.0.8 MST", "epsilon": 1.0, "tvd3": 0.594, "auc": 0.715, "fit_s": 132},
)
CEILING = {"the test table itself": {"tvd3": 0.045}, "trained on the real table": {"auc": 0.927}}

Row = dict[str, Any]


def plan(datasets: list[str], generators: list[str], *, quick: bool) -> list[SynthesizeConfig]:
    """What is fitted: every generator on Adult, those of marginals on every table."""
    configs = []
    for dataset, generator in ((d, g) for d in datasets for g in generators):
        if dataset != "adult" and generator not in MARGINAL:
            continue
        if generator in NOT_PRIVATE:
            configs.append(SynthesizeConfig(generator=generator, dataset=dataset))
            continue
        for epsilon in epsilons_of(generator, quick=quick):
            configs.append(SynthesizeConfig(generator=generator, dataset=dataset, epsilon=epsilon, delta=DELTA))
    return configs


def epsilons_of(generator: str, *, quick: bool) -> tuple[float, ...]:
    if generator == "dp_ctgan":  # it learns next to nothing at 1
        return (3.0,) if quick else (3.0, 10.0)
    return (1.0,) if quick or generator == "independent" else EPSILONS


@contextmanager
def workspace_of(datasets: list[str]) -> Iterator[Workspace]:
    """A new workspace that holds these data sets."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = initialise(Path(folder) / "workspace")
        for dataset in datasets:
            ingest(workspace, dataset)
        yield workspace


def read(workspace: Workspace, dataset: str) -> tuple[Dataset, Dataset]:
    """Training records and holdout."""
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, dataset)
    return store.read("train"), store.read("holdout")


# --- one fit, in a process of its own ---------------------------------------------------------------------------------


def fit_one(root: str, config: str, rows: int, out: str) -> None:
    """Fits, draws as many rows as there were into `out`, and prints what it took."""
    from workbench.generators.registry import generator_of

    asked = SynthesizeConfig.model_validate_json(config)
    train, _ = read(Workspace.open(Path(root)), asked.dataset)
    n = len(train)
    if rows:
        drawn = np.random.default_rng(0).integers(0, len(train), rows)
        train = replace(
            train, values=train.values[drawn], points=train.points[drawn], slice_points=train.slice_points[drawn]
        )
    generator = generator_of(asked)
    started, cpu = time.perf_counter(), time.process_time()
    fitted = generator.fit(train)
    took = {"fit_s": time.perf_counter() - started, "fit_cpu_s": time.process_time() - cpu}
    peak = _peak_mb()
    rng = np.random.default_rng()
    np.save(out, fitted.sample(n, rng=rng))
    many = LARGE if asked.generator in MARGINAL else 100_000
    started, cpu = time.perf_counter(), time.process_time()
    fitted.sample(many, rng=rng)
    rates = {
        "rows_per_s": many / (time.perf_counter() - started),
        "rows_per_cpu_s": many / (time.process_time() - cpu),
    }
    print(json.dumps({**took, "peak_mb": peak, **rates}))


def _peak_mb() -> float:
    """The most memory this process had resident; getrusage would count the parent's, from before the exec."""
    status = Path("/proc/self/status").read_text()
    return float(status.split("VmHWM:")[1].split()[0]) / 1024


def run_one(workspace: Workspace, config: SynthesizeConfig, rows: int = 0) -> Row:
    """One fit and its score; `load` is how busy the machine was."""
    train, holdout = read(workspace, config.dataset)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.npy"
        command = [
            sys.executable,
            __file__,
            "--fit",
            str(workspace.root),
            config.model_dump_json(),
            str(rows),
            str(out),
        ]
        took = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        return {**took, **score(train, holdout, np.load(out)), "load": load}


# --- peers ------------------------------------------------------------------------------------------------------------


def run_peer(workspace: Workspace, name: str, python: str, epsilon: float) -> Row:
    """Another synthesizer on the same records, domains and score."""
    train, holdout = read(workspace, "adult")
    domain = {
        column: {"categories": list(c.categories)} if c.categories else {"lower": c.low, "upper": c.high}
        for column, c in train.schema.encoded.items()
    }
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        source, domains, out = (Path(folder) / file for file in ("in.csv", "domain.json", "out.csv"))
        train.codec.decode(train.values).to_csv(source, index=False)
        domains.write_text(json.dumps(domain))
        command = [python, str(HERE / "peers" / f"{name}.py"), str(source), str(domains), str(epsilon), str(out)]
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        took = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True, env=clean).stdout.splitlines()[-1]
        )
        return {**took, **score(train, holdout, peer_values(train, out)), "load": load}


def peer_values(train: Dataset, path: Path) -> np.ndarray:
    """A peer's rows as encoded values; numbers that left the bounds, or that are no whole ones, are brought back."""
    import pandas as pd

    frame = pd.read_csv(path, keep_default_na=False)
    for name, column in train.schema.encoded.items():
        if column.categories is None:
            frame[name] = pd.to_numeric(frame[name], errors="coerce").fillna(column.low).clip(column.low, column.high)
            if column.kind == "integer":
                frame[name] = frame[name].round().astype(int)
    return train.codec.encode(frame).values


# --- what comes of it -------------------------------------------------------------------------------------------------


def summary(runs: list[Row]) -> Row:
    """Mean and range of each figure."""
    names = sorted({name for run in runs for name in run})
    figures = {name: [run[name] for run in runs if name in run] for name in names}
    return {name: {"mean": float(np.mean(f)), "low": min(f), "high": max(f)} for name, f in figures.items()}


def line(row: Row) -> str:
    def mean(name: str, form: str) -> str:
        return format(row["figures"][name]["mean"], form) if name in row["figures"] else "–"

    return (
        f"{row['dataset']:6} {row['generator']:15} {row['epsilon'] or '–':>5} {row['rows']:>9,} | "
        f"{mean('tvd1', '.4f')} {mean('tvd2', '.4f')} {mean('tvd3', '.4f')} | {mean('auc', '.4f')} | "
        f"{mean('fit_s', '.2f'):>7} s, {mean('fit_cpu_s', '.2f'):>7} CPU s | {mean('peak_mb', '.0f'):>5} MB | "
        f"{mean('rows_per_s', ',.0f'):>10} rows/s, {mean('rows_per_cpu_s', ',.0f')} per CPU s "
        f"| load {mean('load', '.1f')}"
    )


def entry(dataset: str, generator: str, epsilon: float | None, rows: int, runs: list[Row]) -> Row:
    row = {
        "dataset": dataset,
        "generator": generator,
        "epsilon": epsilon,
        "rows": rows,
        "runs": len(runs),
        "figures": summary(runs),
    }
    print(line(row), flush=True)
    return row


def merged(rows: list[Row]) -> list[Row]:
    """The rows in place of those in the file that measured the same."""

    def what(row: Row) -> tuple[Any, ...]:
        return row["dataset"], row["generator"], row["epsilon"], row["rows"]

    path = Path(__file__).with_suffix(".json")
    known = {what(row): row for row in json.loads(path.read_text())["figures"]} if path.exists() else {}
    return list((known | {what(row): row for row in rows}).values())


def judge(rows: list[Row]) -> Row:
    """Each bar of TARGETS with what was measured."""
    judged = {}
    for row in rows:
        if (row["dataset"], row["epsilon"]) == ("adult", 1.0) and row["rows"] < LARGE:
            for metric, (bar, best) in TARGETS.get(row["generator"], {}).items():
                found = row["figures"][metric]["mean"]
                better = found >= bar if metric == "auc" else found <= bar
                judged[f"{row['generator']} {metric}"] = {"found": found, "bar": bar, "best": best, "met": bool(better)}
    return judged


def growth(rows: list[Row]) -> dict[str, float]:
    """CPU seconds of the fit of a million rows over those of Adult's."""
    at = {
        (row["generator"], row["rows"] >= LARGE): row["figures"]["fit_cpu_s"]["mean"]
        for row in rows
        if row["dataset"] == "adult" and row["epsilon"] == 1.0 and row["generator"] in MARGINAL
    }
    return {name: at[name, True] / at[name, False] for name, large in at if large}


def plot(rows: list[Row], path: Path) -> None:
    """tvd3 and auc on Adult against epsilon, with what others reached."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams |= {"svg.hashsalt": "workbench", "svg.fonttype": "none"}  # the same figures give the same file
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for axis, metric, text in zip(
        axes,
        ("tvd3", "auc"),
        ("mean 3-way TVD (lower is better)", "AUC, train on synthetic (higher is better)"),
        strict=True,
    ):
        ours = [row for row in rows if row["dataset"] == "adult" and row["epsilon"] and row["rows"] < LARGE]
        for generator in (name for name in GENERATORS if any(row["generator"] == name for row in ours)):
            points = sorted((row["epsilon"], row["figures"][metric]) for row in ours if row["generator"] == generator)
            values = [f["mean"] for _, f in points]
            spread = [[f["mean"] - f["low"] for _, f in points], [f["high"] - f["mean"] for _, f in points]]
            axis.errorbar([e for e, _ in points], values, yerr=spread, marker="o", capsize=3, label=generator)
        for marker, peer in zip("sD^v", PUBLISHED, strict=True):
            axis.plot(peer["epsilon"], peer[metric], marker, color="0.45", fillstyle="none", label=peer["name"])
        for name, reached in CEILING.items():
            if metric in reached:
                axis.axhline(reached[metric], color="0.6", linestyle=":", label=name)
        axis.set(xscale="log", xlabel="ε (δ = 1e-5)", ylabel=text, yscale="log" if metric == "tvd3" else "linear")
        axis.set_xticks(EPSILONS, [f"{e:g}" for e in EPSILONS], minor=False)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    axes[1].legend(fontsize=7)
    figure.suptitle("Adult (32,561 rows). Ours: mean and range. Grey: others, one run each, other machine", fontsize=9)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    if sys.argv[1:2] == ["--fit"]:
        root, config, rows, out = sys.argv[2:]
        return fit_one(root, config, int(rows), out)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one run each, near epsilon 1; writes no file")
    parser.add_argument("--generators", nargs="*", choices=GENERATORS, default=list(GENERATORS))
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    asked = parser.parse_args()
    runs = 1 if asked.quick else RUNS
    if not asked.generators and not asked.peer:
        parser.error("nothing to measure")
    rows: list[Row] = []
    with workspace_of(asked.datasets) as workspace:
        size = {dataset: len(read(workspace, dataset)[0]) for dataset in asked.datasets}
        for config in plan(asked.datasets, asked.generators, quick=asked.quick):
            found = [run_one(workspace, config) for _ in range(runs)]
            rows.append(entry(config.dataset, config.generator, config.epsilon, size[config.dataset], found))
        if "adult" in asked.datasets:
            for name in (g for g in ("aim", "mst") if g in asked.generators):
                config = SynthesizeConfig(generator=name, dataset="adult", epsilon=1.0, delta=DELTA)
                rows.append(entry("adult", name, 1.0, LARGE, [run_one(workspace, config, LARGE)]))
            for name, python in (peer.split("=", 1) for peer in asked.peer):
                rows.append(entry("adult", name, 1.0, size["adult"], [run_peer(workspace, name, python, 1.0)]))
    rows = merged(rows)
    judged, grown = judge(rows), growth(rows)
    for name, ratio in grown.items():
        print(f"{name}: the fit of {LARGE:,} rows takes {ratio:.2f}x the CPU time of Adult's")
    for name, bar in judged.items():
        print(
            f"{name}: {bar['found']:.4f}, bar {bar['bar']}, outstanding {bar['best']}: {'met' if bar['met'] else 'MISSED'}"
        )
    if not asked.quick:
        keep(__file__, {"delta": DELTA, "targets": judged, "growth": grown, "published": PUBLISHED, "figures": rows})
        plot(rows, HERE.parent / "docs" / "utility.svg")
    return None


if __name__ == "__main__":
    main()
