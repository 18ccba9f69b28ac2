"""`workbench verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Json, opened, progress_of, show
from workbench.errors import CheckFailedError
from workbench.workflows.erasure.verify import verify as run


def verify(
    context: typer.Context,
    certificate: Annotated[Path, typer.Argument(help="A certificate, as a .json file.")],
    replay: Annotated[bool, typer.Option("--replay", help="Train the affected shards again and compare.")] = False,
    key: Annotated[Path | None, typer.Option(help="The signer's PUBLIC.pem; default: the workspace's own.")] = None,
    as_json: Json = False,
) -> None:
    """Verify a certificate; with --key and no workspace, by its signature alone."""
    alone = key is not None and not replay and not (context.obj / "state.db").exists()
    with progress_of("verifying") as progress:
        result = run(None if alone else opened(context), certificate, key=key, replay=replay, progress=progress)
    show(result, as_json)
    raise typer.Exit(0 if result.valid else CheckFailedError.exit_code)
