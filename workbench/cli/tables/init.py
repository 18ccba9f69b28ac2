"""`workbench init`."""

from __future__ import annotations

import typer

from workbench.cli.terms import Json, show
from workbench.workflows.operations.initialise import initialise


def init(context: typer.Context, as_json: Json = False) -> None:
    """Make a workspace: folders, keys, database and tracking store. What is there stays."""
    workspace = initialise(context.obj)
    key = workspace.root / "keys" / "signing.pub.pem"
    show({"workspace": str(workspace.root), "public_key": str(key)}, as_json)
