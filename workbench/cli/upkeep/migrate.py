"""`workbench migrate`."""

from __future__ import annotations

import typer

from workbench.cli.terms import Json, show
from workbench.workflows.operations.migrate import migrate as run


def migrate(context: typer.Context, as_json: Json = False) -> None:
    """Upgrade a workspace of an older release, its database and its tracking store; harmless where there is nothing to do."""
    show(run(context.obj), as_json)
