"""`workbench jobs run`."""

from __future__ import annotations

import typer

from workbench.cli.terms import Job, Json, opened, progress_of, show
from workbench.workflows.operations.jobs import take_job


def jobs_run(context: typer.Context, job: Job, as_json: Json = False) -> None:
    """Work on a job that waits, or whose worker died."""
    with progress_of(job) as progress:
        result = take_job(opened(context), job, progress)
    show(result, as_json)
