"""`workbench demo`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from workbench.cli.render import show_demo
from workbench.cli.terms import Json, progress_of, show
from workbench.errors import CheckFailedError
from workbench.workflows.operations.demo import demo as run


def demo(
    context: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the workspace to look around in.")] = False,
    as_json: Json = False,
) -> None:
    """Run the whole main job on the bundled Adult table."""
    with progress_of("demo") as progress:
        result = run(context.obj, keep=keep, progress=progress)
    if as_json:
        show(result, as_json)
    else:
        _show_demo(result)
    raise typer.Exit(0 if result["passed"] else CheckFailedError.exit_code)


def _show_demo(result: dict[str, Any]) -> None:
    show_demo(result)
