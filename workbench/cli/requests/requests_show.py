"""`workbench requests show`."""

from __future__ import annotations

import typer

from workbench.cli.terms import Json, Request, opened, show
from workbench.workflows.erasure.decide import show_request


def requests_show(context: typer.Context, request: Request, as_json: Json = False) -> None:
    """Show one request: its history, the shards it touches, and the hits of the byte scan that hold it."""
    show(show_request(opened(context), request), as_json)
