"""Drawing rows from a fitted generator; post-processing, so it costs no budget."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from workbench import lineage
from workbench.data import catalog
from workbench.errors import InputError, NotFoundError
from workbench.generators.mst import FittedMst, load_mst
from workbench.progress import Progress, silent
from workbench.schema import Codec
from workbench.workspace import Workspace

_BATCH = 1 << 18


def sample(
    workspace: Workspace, generator: str, n: int, out: Path, *, seed: int | None = None, progress: Progress = silent
) -> dict[str, Any]:
    """Writes `n` synthetic rows to a Parquet or CSV file; equal seeds give equal rows."""
    if n < 1:
        raise InputError(f"asked for {n} rows; a table has at least one", hint="-n 1000")
    if out.suffix.lower() not in (".parquet", ".csv"):
        raise InputError(f"{out} has no ending the workbench writes", hint="name a .parquet or .csv file")
    if not out.parent.is_dir():
        raise InputError(f"there is no folder {out.parent} to write to")
    started = time.perf_counter()
    with workspace.engine.connect() as connection:
        artifact = lineage.get(connection, generator)
        if artifact.kind != "generator":
            raise NotFoundError(f"{generator} is a {artifact.kind}, not a generator")
        codec = Codec(catalog.entry(connection, artifact.dataset).schema)
    fitted = load_mst(workspace.root / str(artifact.path))
    write_rows(out, codec, fitted, n, rng=np.random.default_rng(seed), progress=progress)
    private = {key: artifact.body[key] for key in ("private", "epsilon", "delta")}
    return {
        "generator": generator,
        "path": str(out),
        "rows": n,
        **private,
        "seconds": round(time.perf_counter() - started, 3),
    }


def write_rows(
    path: Path, codec: Codec, fitted: FittedMst, n: int, *, rng: np.random.Generator, progress: Progress = silent
) -> None:
    """Streams `n` rows to `path`, in batches; an unfinished file is removed."""
    part = path.with_name(f".part-{path.name}")
    try:
        writer: pq.ParquetWriter | pacsv.CSVWriter | None = None
        for start in range(0, n, _BATCH):
            values = codec.unbin(fitted.sample(min(_BATCH, n - start), rng=rng), rng=rng)
            table = pa.Table.from_pandas(codec.decode(values), preserve_index=False)
            if writer is None:
                is_csv = path.suffix.lower() == ".csv"
                writer = pacsv.CSVWriter(part, table.schema) if is_csv else pq.ParquetWriter(part, table.schema)
            writer.write_table(table)
            progress(min(1.0, (start + _BATCH) / n), f"{min(n, start + _BATCH):,} rows")
        if writer is not None:
            writer.close()
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
