"""`workbench resume`."""

from __future__ import annotations

import typer

from workbench.cli.terms import Json, opened, progress_of, show
from workbench.workflows.controllers.callbacks import tell_waiting
from workbench.workflows.controllers.inbox_worker import log
from workbench.workflows.erasure.run_waiting import erase_waiting


def resume(context: typer.Context, as_json: Json = False) -> None:
    """Finish interrupted erasures and carry out every request that waits; tell those who asked over HTTP."""
    workspace = opened(context)
    with progress_of("resuming") as progress:
        outcome = erase_waiting(workspace, progress, held="all")
    tell_waiting(workspace, log=log)
    if outcome.failures and not outcome.done:
        outcome.results()
    shown = [result.to_json() for result in outcome.done.values()]
    failed = [
        {"datasets": sorted(f.datasets), "requests": sorted(f.requests), "reason": str(f.fault)}
        for f in outcome.failures
    ]
    show({"requests": shown, **({"failed": failed} if failed else {})}, as_json)
    raise typer.Exit(outcome.exit_code)
