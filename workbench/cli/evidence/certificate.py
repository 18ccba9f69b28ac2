"""`workbench certificate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Json, opened, show
from workbench.workflows.evaluation.report import report_certificate


def certificate(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A certificate, as a .json file.")],
    html: Annotated[Path, typer.Option(help="Where to write the page: a .html file.")],
    key: Annotated[Path | None, typer.Option(help="The signer's PUBLIC.pem; default: the workspace's own.")] = None,
    as_json: Json = False,
) -> None:
    """Write a certificate as a page for people, once its signature is verified."""
    alone = key is not None and not (context.obj / "state.db").exists()
    show(report_certificate(None if alone else opened(context), file, html, key=key), as_json)
