"""`workbench jobs cancel`."""

from __future__ import annotations

import typer

from workbench.cli.terms import Job, Json, opened, show
from workbench.workflows.operations.jobs import cancel_job


def jobs_cancel(context: typer.Context, job: Job, as_json: Json = False) -> None:
    """Ask a job to stop; what it has begun is taken back."""
    show(cancel_job(opened(context), job), as_json)
