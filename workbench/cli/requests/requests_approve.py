"""`workbench requests approve`."""

from __future__ import annotations

import typer

from workbench.cli.terms import Json, Request, opened, show
from workbench.workflows.erasure.decide import approve_request


def requests_approve(context: typer.Context, request: Request, as_json: Json = False) -> None:
    """Let a request that waits for approval be carried out."""
    show(approve_request(opened(context), request), as_json)
