"""`workbench backup`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Json, opened, progress_of, show
from workbench.workflows.operations.backup import backup as run


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A new .tar.zst or .tar.gz file.")],
    as_json: Json = False,
) -> None:
    """Write the whole workspace to a .tar.zst or .tar.gz file. It holds the secret keys: keep it as safe as those."""
    with progress_of("backing up") as progress:
        result = run(opened(context), file, progress=progress)
    show(result, as_json)
