"""A job in a process of its own, which goes on when the one that asked for it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from workbench.jobs.job import Job


def detach(root: Path, job: Job) -> dict[str, Any]:
    """Start a process that works on a job of the workspace at `root`; return what a person is shown of it."""
    command = [sys.executable, "-m", "workbench", "--workspace", str(root), "jobs", "run", job.id]
    subprocess.Popen(
        command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return {"job": job.id, "kind": job.kind, "status": job.status}
