"""`workbench jobs list`."""

from __future__ import annotations

import typer

from workbench.cli.terms import Json, opened, show
from workbench.workflows.operations.jobs import list_jobs


def jobs_list(context: typer.Context, as_json: Json = False) -> None:
    """List jobs, with who works on them and how far they are."""
    told = list_jobs(opened(context)).to_json()
    if not as_json:  # hundreds of numbers for each job: the app draws them
        told = {"jobs": [{key: value for key, value in job.items() if key != "detail"} for job in told["jobs"]]}
    show(told, as_json)
