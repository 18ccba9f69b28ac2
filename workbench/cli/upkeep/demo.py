"""`workbench demo`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from workbench.cli.render import show_demo
from workbench.cli.terms import Json, progress_of, show
from workbench.errors import CheckFailedError
from workbench.progress import Progress
from workbench.workflows.operations.demo import demo as run


def demo(
    context: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the workspace to look around in.")] = False,
    as_json: Json = False,
) -> None:
    """Run the whole main job on the bundled Adult table."""
    with progress_of("demo") as progress:
        quiet = as_json or sys.stderr.isatty()  # a terminal shows the bar
        result = run(context.obj, keep=keep, progress=progress if quiet else _steps())
    if as_json:
        show(result, as_json)
    else:
        show_demo(result)
    raise typer.Exit(0 if result.passed else CheckFailedError.exit_code)


def _steps() -> Progress:
    """Return a progress that prints each step once, when it begins."""
    printed = set()

    def report(fraction: float, text: str) -> None:  # noqa: ARG001 (how far a step is shows in a bar alone)
        step = text.partition(":")[0]
        if step not in printed:
            printed.add(step)
            print(f"  {step}", file=sys.stderr, flush=True)

    return report
