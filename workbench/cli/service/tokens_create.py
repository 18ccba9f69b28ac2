"""`workbench tokens create`."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.terms import Json, opened, show
from workbench.workflows.controllers.tokens import create_token


def tokens_create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The controller it stands for, a system rather than a person.")],
    scope: Annotated[
        list[str],
        typer.Option(help="requests:write, requests:read, predict, certificates, metrics; repeat for several."),
    ],
    days: Annotated[int, typer.Option(help="How long it is good for.")] = 90,
    as_json: Json = False,
) -> None:
    """Make a token; its secret is shown once."""
    show(create_token(opened(context), name, scope, days=days), as_json)
