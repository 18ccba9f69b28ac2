"""`workbench card`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Json, Of, opened, show
from workbench.workflows.evaluation.report import report_card


def card(
    context: typer.Context,
    name: Of,
    out: Annotated[Path, typer.Option(help="A .md file.")],
    internal: Annotated[bool, typer.Option("--internal", help="With figures computed from people's records.")] = False,
    as_json: Json = False,
) -> None:
    """Write the data card of a release, or the model card of an ensemble, in Hugging Face's Markdown."""
    show(report_card(opened(context), name, out, internal=internal), as_json)
