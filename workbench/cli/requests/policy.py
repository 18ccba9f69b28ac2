"""`workbench policy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Json, Set, opened, show
from workbench.workflows.erasure.decide import set_policy


def policy(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(help="A data set.")],
    config: Annotated[Path, typer.Argument(help="The policy's file.")] = Path("configs/policies/default.yaml"),
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Declare how a data set's erasure requests are handled: approval, due date, suppression, limits."""
    show(set_policy(opened(context), dataset, config, overrides or []), as_json)
