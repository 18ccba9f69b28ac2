"""Tables that were uploaded to be taken in: kept for the job that reads them, and no longer."""

from __future__ import annotations

import time
from pathlib import Path

from workbench.jobs.job import OVER, find
from workbench.state.atomic_files import remove
from workbench.state.roles import internal
from workbench.state.workspace import Workspace

UPLOADS = "uploads"
_FRESH_SECONDS = 60  # one that is being written has no job yet


@internal
def sweep_uploads(workspace: Workspace) -> None:
    """Removes uploads that no job needs any more: it was cancelled before it began, or whoever kept them was killed."""
    folder = workspace.root / UPLOADS
    kept = list(folder.iterdir()) if folder.is_dir() else []
    if not kept:
        return
    with workspace.engine.connect() as connection:
        jobs = [(Path(str(job.config.get("data"))).parent, job.status) for job in find(connection)]
    needed = {upload for upload, status in jobs if status not in OVER}
    for upload in kept:
        if upload not in needed and time.time() - upload.stat().st_mtime > _FRESH_SECONDS:
            remove(upload)
