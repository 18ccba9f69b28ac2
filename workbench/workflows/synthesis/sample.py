"""Drawing rows from a fitted generator; post-processing, so it costs no budget."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from sqlalchemy import Connection

from workbench.config import MAX_ROWS
from workbench.data import catalog
from workbench.erasure.free_text import refuse_names
from workbench.erasure.request import refuse_quarantined
from workbench.errors import InputError, NotFoundError, QuarantinedError
from workbench.generators.generator import FittedGenerator
from workbench.generators.registry import load_generator
from workbench.progress import Progress, silent
from workbench.schema import Codec
from workbench.schema.conditions import Within, parse_where
from workbench.state import journal, lineage, reading, writing
from workbench.state.atomic_files import check_output, file_sha256
from workbench.state.lineage import Artifact
from workbench.state.roles import allowed, internal
from workbench.state.workspace import Workspace
from workbench.workflows.outputs import Judge, judge_now, output
from workbench.workflows.synthesis.results import Drawn, SampleResult

_BATCH = 1 << 18
_FORMULA = r"\A([=+\-@\t\r])"  # OWASP, "CSV Injection"
MAX_RECIPIENT = 200

Finished = TypeVar("Finished")


@allowed("operate")
def sample(
    workspace: Workspace,
    generator: str,
    n: int,
    out: Path,
    *,
    seed: int | None = None,
    where: Sequence[str] = (),
    recipient: str | None = None,
    progress: Progress = silent,
) -> SampleResult:
    """Writes `n` synthetic rows to a Parquet or CSV file; equal seeds give equal rows.

    `where` are conditions such as `sex=Female`, `age=30..39` or `sector=a|b`, which all rows meet; a marginal generator draws
    them exactly from its model given that.

    What leaves the workspace is on record before the file is there, with who gets it, so that an erasure can tell whom to
    notify (GDPR Art. 19). Raises QuarantinedError where the generator is not private and someone it was fitted to has an open
    erasure request, also one that was accepted since it began: then no more is drawn, and there is no file.
    """
    _check(n, out)
    started = time.perf_counter()
    with output(workspace, out) as result:
        drawn, _ = draw(
            workspace,
            generator,
            n,
            result.staged,
            result.place,
            seed=seed,
            where=where,
            recipient=recipient,
            progress=progress,
        )
    return SampleResult(**drawn.__dict__, path=out, seconds=round(time.perf_counter() - started, 3))


@internal
def draw(
    workspace: Workspace,
    generator: str,
    n: int,
    staged: Path,
    finish: Callable[[Judge], Finished],
    *,
    seed: int | None = None,
    where: Sequence[str] = (),
    recipient: str | None = None,
    progress: Progress = silent,
) -> tuple[Drawn, Finished]:
    """Draws `n` rows to `staged` and puts them on record as an export; then `finish` has them judged in its last moment.

    Returns what is to be said of them, and what `finish` returns.
    """
    _check_recipient(workspace, recipient)
    with reading(workspace.engine) as connection:
        artifact = _generator(connection, generator)
        codec = Codec(catalog.entry(connection, artifact.dataset).schema)
    fitted = load_generator(artifact.body["generator"], workspace.root / str(artifact.path), codec)
    kept = ("private", "epsilon", "delta")

    def judge(connection: Connection) -> None:
        _generator(connection, generator)  # again: it may be gone, or under quarantine, since

    def report(fraction: float, text: str) -> None:
        judge_now(workspace, judge)
        progress(fraction, text)

    conditions, rng = parse_where(codec, where), np.random.default_rng(seed)
    write_rows(staged, codec, fitted, n, rng=rng, where=conditions, progress=report)
    export = Artifact(
        id=f"{generator}-export-{secrets.token_hex(4)}",
        kind="export",
        dataset=artifact.dataset,
        derived_from=[generator, artifact.dataset],
        digest=file_sha256(staged),
        body={key: artifact.body[key] for key in kept if key in artifact.body}
        | {"rows": n}
        | ({"recipient": recipient} if recipient else {}),
    )
    with writing(workspace.engine) as connection:
        judge(connection)
        lineage.record(connection, export)
        journal.append(connection, "EXPORTED", export=export.id, rows=n)
    try:
        finished = finish(judge)
    except (QuarantinedError, NotFoundError):  # of the judge: there is no file; after any other fault there may be one
        with writing(workspace.engine) as connection:
            lineage.remove(connection, [export.id])
            journal.append(connection, "EXPORT_WITHDRAWN", export=export.id)
        raise
    drawn = Drawn(generator=generator, export=export.id, rows=n, **{key: artifact.body.get(key) for key in kept})
    return drawn, finished


def _check(n: int, out: Path) -> None:
    if not 1 <= n <= MAX_ROWS:
        raise InputError(f"asked for {n} rows; a file holds from 1 to {MAX_ROWS:,}", hint="-n 1000")
    check_output(out, (".parquet", ".csv"))


@internal
def write_rows(
    path: Path,
    codec: Codec,
    fitted: FittedGenerator,
    n: int,
    *,
    rng: np.random.Generator,
    where: Mapping[str, Within] | None = None,
    progress: Progress = silent,
) -> None:
    """Streams `n` rows to `path`, in batches.

    In CSV a text that a spreadsheet would take for a formula gets an apostrophe before it; Parquet holds every value as it is.
    """
    writer: pq.ParquetWriter | pacsv.CSVWriter | None = None
    for start in range(0, n, _BATCH):
        values = fitted.sample(min(_BATCH, n - start), rng=rng, where=where)
        table = pa.Table.from_pandas(codec.decode(values), preserve_index=False)
        is_csv = path.suffix.lower() == ".csv"
        if is_csv:
            table = without_formulas(table)
        if writer is None:
            writer = pacsv.CSVWriter(path, table.schema) if is_csv else pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
        progress(min(1.0, (start + _BATCH) / n), f"{min(n, start + _BATCH):,} rows")
    if writer is not None:
        writer.close()


def _generator(connection: Connection, name: str) -> Artifact:
    artifact = lineage.get(connection, name)
    if artifact.kind != "generator":
        raise NotFoundError(f"{name} is of kind {artifact.kind}, not a generator", hint="workbench lineage DATASET")
    refuse_quarantined(connection, artifact)
    return artifact


def _check_recipient(workspace: Workspace, recipient: str | None) -> None:
    if recipient is None:
        return
    if not (recipient.strip() and recipient.isprintable() and len(recipient) <= MAX_RECIPIENT):
        raise InputError(
            f"a recipient is named by 1 to {MAX_RECIPIENT} printable characters, found {len(recipient)} characters",
            hint="--recipient 'who gets the file'",
        )
    refuse_names(workspace, recipient, "the recipient")


@internal
def without_formulas(table: pa.Table) -> pa.Table:
    """The table with an apostrophe before each text that a spreadsheet would take for a formula."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type) or pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            texts = table.column(place).cast(pa.string())
            table = table.set_column(place, field.name, pc.replace_substring_regex(texts, _FORMULA, r"'\1"))
    return table
