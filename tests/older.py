"""Databases and records as earlier releases left them: the one built by their own migrations, the other written here."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from pathlib import Path

import alembic.command
import pyarrow as pa
import pyarrow.parquet as pq
from alembic.config import Config
from sqlalchemy import create_engine

from workbench.data import catalog
from workbench.data.bucket_file import POINT, SLICE, TOKEN, values_of
from workbench.data.store import BUCKET_BITS, file_name, first_format_name
from workbench.state import database, writing
from workbench.state.atomic_files import sha256
from workbench.state.tables import buckets, datasets
from workbench.state.workspace import Workspace


def make_older(path: Path, revision: str) -> None:
    """Makes an empty workspace database of that revision at `path`."""
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, revision)
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def as_first_format(workspace: Workspace, dataset: str) -> None:
    """Puts the records of a data set into bucket files of the first format: floats, and files named by their place."""
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, dataset)
    assert store.bits == BUCKET_BITS
    digests = {}
    for (split, bucket), digest in store.digests.items():
        table = store.bucket(split, bucket)
        assert table is not None
        floats = {name: pa.array(values_of(table, name)) for name in store.schema.encoded}
        sink = io.BytesIO()
        table = pa.table({name: table[name] for name in (TOKEN, POINT, SLICE)} | floats)
        pq.write_table(table, sink, compression="lz4", use_dictionary=False, write_statistics=False)
        store.files.write(first_format_name(split, bucket), sink.getvalue())
        store.files.delete(file_name(digest))
        digests[split, bucket] = sha256(sink.getvalue())
    with writing(workspace.engine) as connection:
        connection.execute(datasets.update().where(datasets.c.name == dataset).values(bucket_bits=None))
        for (split, bucket), digest in digests.items():
            place = (buckets.c.dataset == dataset) & (buckets.c.split == split) & (buckets.c.bucket == bucket)
            connection.execute(buckets.update().where(place).values(digest=digest, format=None))
