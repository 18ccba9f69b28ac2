"""Databases as earlier releases left them, built by their own migrations."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import alembic.command
from alembic.config import Config
from sqlalchemy import create_engine

from workbench.state import database


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
