"""What the commands share: their common options, the workspace, the progress bar, how a result is shown."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.workflows.result import Result

if TYPE_CHECKING:
    from workbench.progress import Progress
    from workbench.state.workspace import Workspace

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a field of the config.")]
Detach = Annotated[
    bool, typer.Option("--detach", help="Hand it to a process of its own; workbench jobs list shows it.")
]


def opened(context: typer.Context) -> Workspace:
    """The workspace that the command line names."""
    from workbench.state.workspace import Workspace

    return Workspace.open(context.obj)


def opened_to_write(context: typer.Context) -> Workspace:
    """The workspace that the command line names, once what was interrupted in it is finished as far as that goes."""
    from workbench.workflows.erasure.execute import recover_interrupted  # start-up

    workspace = opened(context)
    recover_interrupted(workspace)
    return workspace


def progress_of(title: str) -> AbstractContextManager[Progress]:
    """A progress bar on standard error, where that is a terminal."""
    from workbench.progress import progress_bar

    return progress_bar(title)


def show(result: Result | Mapping[str, Any], as_json: bool) -> None:
    """Prints a result: as one JSON object, or for people."""
    if isinstance(result, Result):
        result = result.to_json()
    if as_json:
        from workbench.state.atomic_files import strict_json

        print(strict_json(result))  # what was done is done: no number may fail here
        return
    from workbench.cli.render import show_result

    show_result(result)


def run_job(context: typer.Context, kind: str, config: dict[str, Any], detach: bool, as_json: bool) -> None:
    """Does a piece of long work and shows its result; or detached, and shows its job."""
    from workbench.workflows.operations.jobs import detach_job
    from workbench.workflows.operations.jobs import run_job as run

    if detach:
        show(detach_job(opened(context), kind, config), as_json)
        return
    with progress_of(kind) as progress:
        result = run(opened(context), kind, config, progress)
    show(result, as_json)
