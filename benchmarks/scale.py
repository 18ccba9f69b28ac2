"""Ten million people through the whole: taken in, counted, AIM, 64 shards, one erasure and its verification.

    python benchmarks/scale.py [--rows 10000000] [--folder DIR] [--base PYTHON_PATH]

The people are rows of Adult drawn with replacement, each a person of their own. Every step runs in a fresh process, so that
its CPU seconds and its largest memory are its own. `--small` measures 100,000 and writes no file.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from setting import keep

from workbench.config import CONFIGS, SynthesizeConfig, TrainConfig
from workbench.data import catalog
from workbench.data.bundled import bundled_path
from workbench.data.store import Store
from workbench.state.workspace import Workspace

ROWS, SMALL, ADULT = 10_000_000, 100_000, 32_561
SHARDS = 64
_CHUNK = 1 << 18
Row = dict[str, Any]


def make(folder: Path, rows: int) -> None:
    """Write a table of so many people and its schema."""
    adult, rng = pq.read_table(bundled_path("adult.parquet")), np.random.default_rng(0)
    with pq.ParquetWriter(folder / "people.parquet", adult.schema) as writer:
        for start in range(0, rows, _CHUNK):
            writer.write_table(adult.take(pa.array(rng.integers(0, len(adult), min(_CHUNK, rows - start)))))
    schema = yaml.safe_load((CONFIGS / "datasets" / "adult.yaml").read_text())
    schema |= {"population": "people", "identity_type": "people-row", "holdout": {"share": 0.02}}
    (folder / "people.yaml").write_text(yaml.safe_dump(schema, sort_keys=False))


def workspace_of(folder: Path) -> Workspace:
    return Workspace.open(folder / "workspace")


def store_of(folder: Path) -> Store:
    workspace = workspace_of(folder)
    with workspace.engine.connect() as connection:
        return catalog.store(connection, workspace, "people")


def take_in(folder: Path) -> Row:
    from workbench.workflows.datasets.ingest import ingest
    from workbench.workflows.operations.initialise import initialise

    began = time.process_time()
    initialise(folder / "workspace")
    started = time.process_time()
    stored = ingest(workspace_of(folder), "people", schema=folder / "people.yaml", data=folder / "people.parquet")
    took, rows = time.process_time() - started, sum(stored.rows.values())
    store = store_of(folder)
    return {
        "rows": rows,
        "rows_per_cpu_s": round(rows / took),
        "start_cpu_s": round(started - began, 1),
        "bucket_bits": store.bits,
        "files": len(store.digests),
        "mb": round((store.bytes_of("train") + store.bytes_of("holdout")) / 2**20),
        "largest_file_kb": max(store.files.size(store.file_of(*place)) for place in store.digests) // 1024,
    }


def count(folder: Path) -> Row:
    """Every pair of columns, in one pass over the files."""
    from itertools import combinations

    from workbench.generators.marginals.table import _rows

    rows = _rows(store_of(folder), 1)
    counted = rows.counts(list(combinations(rows.domain.names, 2)))
    return {"pairs": len(counted), "rows": int(counted[0].sum())}


def fit(folder: Path) -> Row:
    from workbench.generators.registry import generator_of

    config = SynthesizeConfig(generator="aim", dataset="people", epsilon=1.0, delta=1e-9)
    started = time.process_time()
    fitted = generator_of(config).fit(store_of(folder))  # type: ignore[arg-type]
    return {"fit_cpu_s": round(time.process_time() - started, 1), "total": round(fitted.total)}


def shards(folder: Path) -> Row:
    from workbench.workflows.training.train import train

    config = TrainConfig(learner="gradient_boosting", dataset="people", shards=SHARDS, slices=2, rounds=10, leaves=15)
    answer = train(workspace_of(folder), config)
    return {"metrics": {name: round(estimate.value, 4) for name, estimate in answer.metrics.items()}}


def erase_one(folder: Path) -> Row:
    from workbench.workflows.erasure.erase import erase

    before, person = {path: path.stat().st_mtime_ns for path in files_of(folder)}, 1
    while (answer := erase(workspace_of(folder), [str(person)], dataset="people").requests[0]).status != "completed":
        person += 1
    new = [path for path in files_of(folder) if before.get(path) != path.stat().st_mtime_ns]
    (folder / "certificate").write_text(str(answer.certificate))
    return {
        "shards": answer.shards,
        "record_files_rewritten": len(new),
        "record_kb_rewritten": round(sum(path.stat().st_size for path in new) / 1024),
    }


def files_of(folder: Path) -> list[Path]:
    return [path for path in (folder / "workspace" / "data").rglob("*") if path.is_file()]


def verify_it(folder: Path) -> Row:
    from workbench.workflows.erasure.verify import verify

    report = verify(workspace_of(folder), Path((folder / "certificate").read_text()), replay=True)
    return {"valid": report.valid}


STEPS: dict[str, Callable[[Path], Row]] = {
    "ingest": take_in,
    "count": count,
    "aim": fit,
    "train": shards,
    "erase": erase_one,
    "verify": verify_it,
}


def step(name: str, folder: Path) -> Row:
    """Do one step in this process; print its figures as the last line."""
    started = time.perf_counter()
    found = STEPS[name](folder)
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    peak = max(own.ru_maxrss, children.ru_maxrss) / 1024
    figures = {"seconds": round(time.perf_counter() - started, 1), "cpu_s": round(cpu, 1), "peak_mb": round(peak)}
    return {"step": name, **figures, **found}


def measure(folder: Path, names: list[str]) -> list[Row]:
    """Each step in a process of its own."""
    rows = []
    for name in names:
        done = subprocess.run(
            [sys.executable, __file__, "--step", name, "--folder", str(folder)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--small", action="store_true", help="100,000 people; writes no file")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder if none is given")
    parser.add_argument("--step", choices=STEPS, help="do this one in a folder that is made already")
    asked = parser.parse_args()
    if asked.step:
        print(json.dumps(step(asked.step, asked.folder)))
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as temporary:
        result: Row = {"shards": SHARDS}
        for title, rows, names in (
            ("adult", ADULT, ["ingest", "aim"]),
            ("people", SMALL if asked.small else asked.rows, list(STEPS)),
        ):
            folder = Path(temporary, title)
            folder.mkdir()
            make(folder, rows)
            result[title] = measure(folder, names)
    if not asked.small:
        keep(__file__, result)


if __name__ == "__main__":
    main()
