"""`workbench tokens list`."""

from __future__ import annotations

import typer

from workbench.cli.terms import Json, opened, show
from workbench.workflows.controllers.tokens import list_tokens


def tokens_list(context: typer.Context, as_json: Json = False) -> None:
    """List tokens by id, without their secrets."""
    show(list_tokens(opened(context)), as_json)
