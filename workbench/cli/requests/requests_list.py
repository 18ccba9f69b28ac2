"""`workbench requests list`."""

from __future__ import annotations

import typer

from workbench.cli.terms import Json, opened, show
from workbench.workflows.erasure.decide import list_requests


def requests_list(context: typer.Context, as_json: Json = False) -> None:
    """List erasure requests by id and status."""
    show(list_requests(opened(context)), as_json)
