"""`workbench requests release`."""

from __future__ import annotations

import typer

from workbench.cli.terms import Json, Request, opened, show
from workbench.workflows.erasure.decide import release_request


def requests_release(context: typer.Context, request: Request, as_json: Json = False) -> None:
    """Let a request be carried out before its window ends."""
    show(release_request(opened(context), request), as_json)
