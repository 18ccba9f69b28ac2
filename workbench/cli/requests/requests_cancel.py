"""`workbench requests cancel`."""

from __future__ import annotations

import typer

from workbench.cli.terms import Json, Request, opened, show
from workbench.workflows.erasure.decide import cancel_request


def requests_cancel(context: typer.Context, request: Request, as_json: Json = False) -> None:
    """Take a request back that was not begun; its quarantine is lifted."""
    show(cancel_request(opened(context), request), as_json)
