"""`workbench tokens rotate`."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.terms import Json, Token, opened, show
from workbench.workflows.controllers.tokens import rotate_token


def tokens_rotate(
    context: typer.Context,
    token: Token,
    days: Annotated[int, typer.Option(help="How long the new one is good for.")] = 90,
    grace_hours: Annotated[int, typer.Option(help="How long the old one still is.")] = 24,
    as_json: Json = False,
) -> None:
    """Make a token in the place of another, which ends after a grace."""
    show(rotate_token(opened(context), token, days=days, grace_hours=grace_hours), as_json)
