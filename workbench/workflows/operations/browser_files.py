"""What a browser hands over and takes away: files that exist only as long as a workflow needs them.

What was uploaded to be taken in lies under `uploads/` until the job that reads it is over; everything else lies in a staging
folder that is gone when the function returns. No name that an upload came with is kept.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from sqlalchemy import Connection

from workbench.data.reader import estimate_rows, read_chunks
from workbench.erasure.request import refuse_quarantined
from workbench.errors import InputError, NotFoundError
from workbench.progress import Progress, silent, watched
from workbench.schema import Codec, Schema, read_schema
from workbench.state import lineage, reading
from workbench.state.atomic_files import file_sha256, remove, write_atomic
from workbench.state.lineage import Artifact
from workbench.state.roles import allowed, open_to_all
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.ingest import refuse_name, rehearse
from workbench.workflows.datasets.propose_schema import propose_schema
from workbench.workflows.datasets.results import RehearsalResult
from workbench.workflows.datasets.same_people import check_reason
from workbench.workflows.datasets.uploads import UPLOADS, sweep_uploads
from workbench.workflows.erasure.results import DetachedJob, Verification
from workbench.workflows.erasure.verify import verify
from workbench.workflows.evaluation.report import certificate_html
from workbench.workflows.operations.jobs import detach_job
from workbench.workflows.operations.results import BrokenRule
from workbench.workflows.outputs import Judge, judge_now
from workbench.workflows.synthesis.sample import draw, without_formulas
from workbench.workflows.training.predict import Voters, judged

MOST_REHEARSED = 20 << 20  # bytes: reading more twice would keep a person waiting
MOST_ROWS = 200_000  # of a file made for a browser, which has to hold it
TABLES = (".csv", ".parquet")  # a packed file could unfold to any size


@allowed("operate")
def draft_schema(
    workspace: Workspace,
    name: str,
    content: bytes,
    *,
    target: str | None,
    subject: str | None,
    progress: Progress = silent,
) -> Schema:
    """A draft schema of an uploaded table; it read the data, and every domain in it is a guess to be reviewed."""
    with _staged(workspace, name, content) as (folder, table):
        propose_schema(table, folder / "schema.yaml", target=target, subject=subject, progress=progress)
        return read_schema(folder / "schema.yaml")


@allowed("operate")
def column_names(workspace: Workspace, name: str, content: bytes) -> list[str]:
    """The columns of an uploaded table; raises InputError where it is none."""
    with _staged(workspace, name, content) as (_, table):
        return [str(column) for column in next(iter(read_chunks(table))).columns]


@allowed("operate")
def check_table(
    workspace: Workspace, name: str, content: bytes, schema: Schema, *, progress: Progress = silent
) -> tuple[BrokenRule, ...]:
    """The rules of a schema that an uploaded table breaks: column, rule and in how many rows. Nothing is stored."""
    codec, columns = Codec(schema), list(schema.encoded)
    broken: dict[tuple[str, str], int] = {}
    with _staged(workspace, name, content) as (_, table):
        for chunk in watched(read_chunks(table, columns), estimate_rows(table), progress):
            for violation in codec.encode(chunk).violations:
                about = (violation.column, violation.rule)
                broken[about] = broken.get(about, 0) + len(violation.rows)
    return tuple(BrokenRule(column=column, rule=rule, rows=rows) for (column, rule), rows in broken.items())


@allowed("operate")
def rehearse_upload(
    workspace: Workspace,
    dataset: str,
    name: str,
    content: bytes,
    schema: Schema,
    *,
    same_people: str | None = None,
    progress: Progress = silent,
) -> RehearsalResult | None:
    """What taking in an uploaded table would store, in numbers; raises as that would, and nothing is stored.

    None of a table larger than MOST_REHEARSED, of which only the name and the schema are looked at.
    """
    check_reason(workspace, same_people)
    confirmed = same_people is not None
    if len(content) > MOST_REHEARSED:
        refuse_name(workspace, dataset, schema, confirmed=confirmed)
        return None
    with _staged(workspace, name, content) as (_, table):
        return rehearse(workspace, dataset, schema, table, confirmed=confirmed, progress=progress)


@allowed("operate")
def ingest_upload(
    workspace: Workspace, dataset: str, name: str, content: bytes, schema: Schema, *, same_people: str | None = None
) -> DetachedJob:
    """Hands an uploaded table to a job of its own, which removes it when it is over, however it ends."""
    sweep_uploads(workspace)
    folder = workspace.root / UPLOADS / secrets.token_hex(8)
    folder.mkdir(parents=True, mode=0o700)
    try:
        table, written = folder / f"table{_ending(name)}", folder / "schema.yaml"
        write_atomic(table, content, mode=0o600)
        write_atomic(written, schema.to_yaml().encode())
        config = {
            "name": dataset,
            "schema": str(written),
            "data": str(table),
            "uploaded": True,
            "same_people": same_people,
        }
        return detach_job(workspace, "ingest", config)
    except BaseException:
        remove(folder)
        raise


@dataclass(frozen=True)
class Download:
    """A file for a browser, made before its button is pressed: it is judged again whenever it is taken."""

    workspace: Workspace
    content: bytes
    judge: Judge

    def take(self) -> bytes:
        """Return the content; raises where it may not be handed out any more."""
        judge_now(self.workspace, self.judge)
        return self.content


@allowed("operate")
def predict_upload(workspace: Workspace, ensemble: str, name: str, content: bytes) -> tuple[Download, pd.DataFrame]:
    """Predictions for an uploaded table as CSV, without formulas, and the first of them to be shown."""

    def make(voters: Voters) -> tuple[Download, pd.DataFrame]:
        with _staged(workspace, name, content) as (folder, table):
            out = folder / "predictions.parquet"
            voters.predict_table(table, out)
            predictions: pa.Table = pq.read_table(out)
            first: pd.DataFrame = predictions.slice(0, 10).to_pandas()
            return Download(workspace, _csv(predictions), voters.judge), first

    return judged(workspace, ensemble, make)


@allowed("operate")
def sample_file(
    workspace: Workspace,
    generator: str,
    n: int,
    ending: str,
    *,
    where: tuple[str, ...] = (),
    recipient: str | None = None,
) -> Download:
    """Synthetic rows as a file, on record as an export; raises InputError for more than a browser should hold."""
    if not 1 <= n <= MOST_ROWS:
        raise InputError(f"asked for {n:,} rows; a browser gets at most {MOST_ROWS:,}", hint="workbench sample")
    with workspace.staging() as folder:
        staged = folder / f"rows{ending}"

        def finish(judge: Judge) -> Download:
            download = Download(workspace, staged.read_bytes(), judge)
            download.take()
            return download

        _, download = draw(workspace, generator, n, staged, finish, where=where, recipient=recipient)
    download.take()  # again, now that nothing is left to be done
    return download


@allowed("operate")
def release_file(workspace: Workspace, release: str, ending: str) -> bytes:
    """A release as CSV, without formulas, or as Parquet; raises QuarantinedError where it may not be handed out now."""
    path, judge = _release(workspace, release)
    with _judged_after(workspace, judge):
        return path.read_bytes() if ending == ".parquet" else _csv(pq.read_table(path))


@open_to_all
def release_rows(workspace: Workspace, release: str, n: int = 20) -> pd.DataFrame:
    """The first rows of a release; raises QuarantinedError where it may not be shown now."""
    path, judge = _release(workspace, release)
    with _judged_after(workspace, judge):
        batches = pq.ParquetFile(path).iter_batches(batch_size=n)
        rows: pd.DataFrame = pa.Table.from_batches([next(batches)]).to_pandas()
    return rows


@open_to_all
def verify_upload(workspace: Workspace, content: bytes, *, replay: bool = False) -> tuple[Verification, str | None]:
    """What holds of an uploaded certificate, and its page where the signature does."""
    with workspace.staging() as folder:
        certificate = folder / "certificate.json"
        certificate.write_bytes(content)
        result = verify(workspace, certificate, replay=replay)
        signed = all(check.ok for check in result.checks if check.name == "signature")
        return result, certificate_html(workspace, certificate)[0] if signed else None


@contextmanager
def _staged(workspace: Workspace, name: str, content: bytes) -> Iterator[tuple[Path, Path]]:
    """A staging folder with the uploaded table in it; faults speak of the table, and name no path."""
    with workspace.staging() as folder:
        table = folder / f"{_stem(name)}{_ending(name)}"
        table.write_bytes(content)
        try:
            yield folder, table
        except InputError as fault:
            raise InputError(str(fault).replace(str(table), "the table"), hint=fault.hint) from None


def _release(workspace: Workspace, release: str) -> tuple[Path, Judge]:
    """The undamaged file of a release that may be handed out now, and what judges that again."""

    def judge(connection: Connection) -> None:
        artifact(connection)

    def artifact(connection: Connection) -> Artifact:
        found = lineage.get(connection, release)
        if found.kind != "release" or found.path is None:
            raise NotFoundError(f"{release} is of kind {found.kind}, not a release")
        refuse_quarantined(connection, found)
        return found

    with reading(workspace.engine) as connection:
        made = artifact(connection)
    path = workspace.root / str(made.path)
    if made.digest is not None and (not path.is_file() or file_sha256(path) != made.digest):
        raise InputError(f"the file of release {release} is damaged or missing", hint="workbench doctor")
    return path, judge


@contextmanager
def _judged_after(workspace: Workspace, judge: Judge) -> Iterator[None]:
    """Judge at the end, also where an erasure purged the file that is read: then the judge says that it is gone."""
    try:
        yield
    except FileNotFoundError:
        judge_now(workspace, judge)
        raise
    judge_now(workspace, judge)


def _csv(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pacsv.write_csv(without_formulas(table), sink)
    return bytes(sink.getvalue().to_pybytes())


def _ending(name: str) -> str:
    ending = PurePath(name).suffix.lower()
    if ending not in TABLES:
        raise InputError("an uploaded table is a .csv or a .parquet file", hint="unpack it first")
    return ending


@open_to_all
def name_of(upload: str) -> str:
    """A name for the data set of an uploaded file."""
    return _stem(upload)


def _stem(name: str) -> str:
    """What a draft is called after, made safe as a file name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", PurePath(name).stem).strip("-_")[:40] or "table"
