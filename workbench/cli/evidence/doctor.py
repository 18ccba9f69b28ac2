"""`workbench doctor`."""

from __future__ import annotations

import typer

from workbench.cli.terms import Json, opened, show
from workbench.errors import CheckFailedError
from workbench.workflows.operations.doctor import doctor as run


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check that a workspace is sound."""
    result = run(opened(context))
    show(result, as_json)
    raise typer.Exit(0 if result.healthy else CheckFailedError.exit_code)
