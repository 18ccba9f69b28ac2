"""What commands share that write or take long."""

from __future__ import annotations

from typing import Any

import typer

from workbench.cli.terms import opened, progress_of, show
from workbench.state.workspace import Workspace
from workbench.workflows.erasure.execute import recover_interrupted
from workbench.workflows.operations import jobs


def opened_to_write(context: typer.Context) -> Workspace:
    """The workspace that the command line names, once what was interrupted in it is finished as far as that goes."""
    workspace = opened(context)
    recover_interrupted(workspace)
    return workspace


def run_job(context: typer.Context, kind: str, config: dict[str, Any], detach: bool, as_json: bool) -> None:
    """Do a piece of long work and show its result; or detached, and show its job."""
    if detach:
        show(jobs.detach_job(opened(context), kind, config), as_json)
        return
    with progress_of(kind) as progress:
        result = jobs.run_job(opened(context), kind, config, progress)
    show(result, as_json)
