"""Proposing a schema for a table, for a person to review."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from workbench.data.reader import estimate_rows, read_chunks
from workbench.errors import InputError
from workbench.files import write_atomic
from workbench.progress import Progress, silent, watched
from workbench.schema.infer import annotate, infer_schema


def propose_schema(
    file: Path, out: Path, *, target: str | None = None, subject: str | None = None, progress: Progress = silent
) -> dict[str, Any]:
    """Writes a draft schema whose every domain was guessed from the data and is marked unreviewed."""
    if out.exists():
        raise InputError(f"{out} exists already; a reviewed schema is not overwritten", hint="name a new file")
    if not out.parent.is_dir():
        raise InputError(f"there is no folder {out.parent} to write to")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", file.name.split(".")[0]).strip("-._") or "table"
    chunks = watched(read_chunks(file), estimate_rows(file), progress)
    schema = infer_schema(chunks, name=name, target=target, subject=subject)
    write_atomic(out, annotate(schema).encode())
    return {
        "schema": str(out),
        "columns": len(schema.columns),
        "unreviewed": list(schema.unreviewed),
        "dropped": [column for column, c in schema.columns.items() if c.role == "drop"],
        "read_the_data": True,
    }
