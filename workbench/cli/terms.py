"""What the commands share: their common options, the workspace, the progress bar, how a result is shown."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.progress import Progress, progress_bar
from workbench.state.atomic_files import strict_json
from workbench.state.workspace import Workspace

if TYPE_CHECKING:
    from workbench.jobs.worker import JobResult

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a field of the config.")]
Detach = Annotated[
    bool, typer.Option("--detach", help="Hand it to a process of its own; workbench jobs list shows it.")
]

Population = Annotated[str | None, typer.Option(help="A population by its name, in place of a data set.")]
Job = Annotated[str, typer.Argument(help="A job, as jobs list tells it.")]
Of = Annotated[str, typer.Argument(metavar="ID", help="A release, a generator, an ensemble or an erasure request.")]
Where = Annotated[str | None, typer.Option(help="The data set, where an erasure concerns several.")]
Request = Annotated[str, typer.Argument(help="A request, as requests list tells it.")]
Token = Annotated[str, typer.Argument(help="A token by its id, as tokens list tells it.")]


def opened(context: typer.Context) -> Workspace:
    """The workspace that the command line names."""
    return Workspace.open(context.obj)


def progress_of(title: str) -> AbstractContextManager[Progress]:
    """A progress bar on standard error, where that is a terminal."""
    return progress_bar(title)


def show(result: JobResult, as_json: bool) -> None:
    """Prints a result: as one JSON object, or for people."""
    values = result if isinstance(result, Mapping) else result.to_json()
    if as_json:
        print(strict_json(values))  # what was done is done: no number may fail here
        return
    from workbench.cli.render import show_result  # start-up: rich

    show_result(values)
