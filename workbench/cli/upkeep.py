"""Upkeep: backups, restores, and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.terms import Json, opened, progress_of, show
from workbench.errors import CheckFailedError

if TYPE_CHECKING:
    from workbench.workflows.operations.results import DemoResult

app = typer.Typer()
suppressions_app = typer.Typer(
    help="Who may not come back, and what was charged: for copies of a workspace.", no_args_is_help=True
)
app.add_typer(suppressions_app, name="suppressions")


@app.command()
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A new .tar.zst or .tar.gz file.")],
    as_json: Json = False,
) -> None:
    """Write the whole workspace to a .tar.zst or .tar.gz file. It holds the secret keys: keep it as safe as those."""
    from workbench.workflows.operations.backup import backup as run

    with progress_of("backing up") as progress:
        result = run(opened(context), file, progress=progress)
    show(result, as_json)


@app.command()
def migrate(context: typer.Context, as_json: Json = False) -> None:
    """Upgrade a workspace of an older release, its database and its tracking store; harmless where there is nothing to do."""
    from workbench.workflows.operations.migrate import migrate as run

    show(run(context.obj), as_json)


@suppressions_app.command("export")
def suppressions_export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A new .json file.")],
    as_json: Json = False,
) -> None:
    """Write keyed hashes of erased people and every charge to a signed file, for restoring an older backup."""
    from workbench.workflows.erasure.suppressions import export_suppressions

    show(export_suppressions(opened(context), file), as_json)


@suppressions_app.command("import")
def suppressions_import(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file of workbench suppressions export.")],
    as_json: Json = False,
) -> None:
    """Take in a list of another copy of this workspace: its charges count here, its erased people are erased here."""
    from workbench.workflows.erasure.suppressions import import_suppressions

    with progress_of("erasing") as progress:
        result = import_suppressions(opened(context), file, progress=progress)
    show(result, as_json)


@app.command()
def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A backup.")],
    suppressions: Annotated[
        Path | None, typer.Option(help="A file of workbench suppressions export, from the workspace of today.")
    ] = None,
    without: Annotated[
        bool, typer.Option("--without-suppressions", help="There is none: people erased since the backup come back.")
    ] = False,
    live: Annotated[
        Path | None,
        typer.Option(help="The workspace that is in use: its erased people and its charges are taken over."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a new workspace of a backup (--workspace names it), without the people erased since; no budget comes back."""
    from workbench.workflows.operations.restore import restore as run

    with progress_of("restoring") as progress:
        result = run(context.obj, file, suppressions=suppressions, without=without, live=live, progress=progress)
    show(result, as_json)


@app.command()
def demo(
    context: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the workspace to look around in.")] = False,
    as_json: Json = False,
) -> None:
    """Run the whole main job on the bundled Adult table."""
    from workbench.workflows.operations.demo import demo as run

    with progress_of("demo") as progress:
        result = run(context.obj, keep=keep, progress=progress)
    if as_json:
        show(result, as_json)
    else:
        _show_demo(result)
    raise typer.Exit(0 if result.passed else CheckFailedError.exit_code)


def _show_demo(result: DemoResult) -> None:
    from workbench.cli.render import show_demo

    show_demo(result)
