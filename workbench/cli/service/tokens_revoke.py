"""`workbench tokens revoke`."""

from __future__ import annotations

import typer

from workbench.cli.terms import Json, Token, opened, show
from workbench.workflows.controllers.tokens import revoke_token


def tokens_revoke(context: typer.Context, token: Token, as_json: Json = False) -> None:
    """End a token at once."""
    show(revoke_token(opened(context), token), as_json)
