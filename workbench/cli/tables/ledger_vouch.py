"""`workbench ledger vouch`."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.terms import Json, opened, show
from workbench.workflows.erasure.suppressions import vouch


def ledger_vouch(
    context: typer.Context,
    reason: Annotated[str, typer.Option(help="How that is known; shown beside the budget and on cards.")],
    population: Annotated[str | None, typer.Argument(help="A population; default: all.")] = None,
    as_json: Json = False,
) -> None:
    """State that nothing was charged since the backup or list that a workspace was restored from."""
    show(vouch(opened(context), population, reason), as_json)
