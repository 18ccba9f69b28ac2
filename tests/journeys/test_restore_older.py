"""A backup that an older release wrote is upgraded while it is restored, and stays as it is itself."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

from older import make_older
from sqlalchemy import select

from workbench.state import HEAD
from workbench.state.tables import journal
from workbench.state.workspace import Workspace
from workbench.workflows.operations.backup import CONTENTS, backup
from workbench.workflows.operations.restore import restore


def test_it_is_upgraded_on_the_way(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "old.tar.gz"
    backup(workspace, file)
    with tarfile.open(file) as archive:
        members = {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]
    make_older(tmp_path / "older.db", "0002")
    members["state.db"] = (tmp_path / "older.db").read_bytes()
    contents = json.loads(members.pop(CONTENTS))
    contents["sha256"]["state.db"] = hashlib.sha256(members["state.db"]).hexdigest()
    members[CONTENTS] = json.dumps(contents).encode()
    with gzip.open(file, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

    restore(tmp_path / "new", file, without=True)
    with Workspace.open(tmp_path / "new").engine.connect() as connection:
        told = [tuple(row) for row in connection.execute(select(journal.c.kind, journal.c.body))]
    assert ("MIGRATED", {"before": "0002", "after": HEAD}) in told
