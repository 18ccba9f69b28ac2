"""Drawing rows from a fitted generator; post-processing, so it costs no budget."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from workbench import lineage
from workbench.data import catalog
from workbench.errors import InputError, NotFoundError
from workbench.files import check_output
from workbench.generators.mst import FittedMst, load_mst
from workbench.progress import Progress, silent
from workbench.schema import Codec
from workbench.workspace import Workspace

_BATCH = 1 << 18
_FORMULA = r"\A([=+\-@\t\r])"  # OWASP, "CSV Injection"
MAX_ROWS = 100_000_000  # more is a slip of the pen that would fill the disk


def sample(
    workspace: Workspace, generator: str, n: int, out: Path, *, seed: int | None = None, progress: Progress = silent
) -> dict[str, Any]:
    """Writes `n` synthetic rows to a Parquet or CSV file; equal seeds give equal rows."""
    if not 1 <= n <= MAX_ROWS:
        raise InputError(f"asked for {n} rows; a file holds from 1 to {MAX_ROWS:,}", hint="-n 1000")
    check_output(out, (".parquet", ".csv"))
    started = time.perf_counter()
    with workspace.engine.connect() as connection:
        artifact = lineage.get(connection, generator)
        if artifact.kind != "generator":
            raise NotFoundError(
                f"{generator} is of kind {artifact.kind}, not a generator", hint="workbench lineage DATASET"
            )
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
    """Streams `n` rows to `path`, in batches; an unfinished file is removed.

    In CSV a text that a spreadsheet would take for a formula gets an apostrophe before it; Parquet holds every value as it is.
    """
    part = path.with_name(f".part-{path.name}")
    try:
        writer: pq.ParquetWriter | pacsv.CSVWriter | None = None
        for start in range(0, n, _BATCH):
            values = codec.unbin(fitted.sample(min(_BATCH, n - start), rng=rng), rng=rng)
            table = pa.Table.from_pandas(codec.decode(values), preserve_index=False)
            is_csv = path.suffix.lower() == ".csv"
            if is_csv:
                table = _without_formulas(table)
            if writer is None:
                writer = pacsv.CSVWriter(part, table.schema) if is_csv else pq.ParquetWriter(part, table.schema)
            writer.write_table(table)
            progress(min(1.0, (start + _BATCH) / n), f"{min(n, start + _BATCH):,} rows")
        if writer is not None:
            writer.close()
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _without_formulas(table: pa.Table) -> pa.Table:
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type) or pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            texts = table.column(place).cast(pa.string())
            table = table.set_column(place, field.name, pc.replace_substring_regex(texts, _FORMULA, r"'\1"))
    return table
