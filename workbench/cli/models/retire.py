"""`workbench retire`."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.terms import Json, opened, show
from workbench.workflows.erasure.retire import retire as run


def retire(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="An ensemble or a generator.")],
    as_json: Json = False,
) -> None:
    """Withdraw an ensemble or a generator for good, with all that was derived from it, also where it is damaged."""
    show(run(opened(context), name), as_json)
