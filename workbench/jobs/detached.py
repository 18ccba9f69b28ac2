"""A job in a process of its own, which goes on when the one that asked for it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from workbench.jobs.job import Job


def detach(root: Path, job: Job) -> None:
    """Start a process that works on a job of the workspace at `root`."""
    command = [sys.executable, "-m", "workbench", "--workspace", str(root), "jobs", "run", job.id]
    subprocess.Popen(
        command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
