"""`workbench requests deny`."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.terms import Json, Request, opened, show
from workbench.workflows.erasure.decide import deny_request


def requests_deny(
    context: typer.Context,
    request: Request,
    reason: Annotated[str, typer.Option(help="Why, for the requester; it must name nobody.")],
    as_json: Json = False,
) -> None:
    """Refuse a request that was not begun; its quarantine is lifted."""
    show(deny_request(opened(context), request, reason), as_json)
