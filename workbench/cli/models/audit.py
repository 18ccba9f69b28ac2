"""`workbench audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.long_work import opened_to_write
from workbench.cli.terms import Json, Set, progress_of, show
from workbench.config import SynthesizeConfig, read_config
from workbench.workflows.evaluation.canary_audit import audit as run


def audit(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="The config of a generator.")],
    overrides: Set = None,
    canaries: Annotated[int, typer.Option(help="Artificial subjects, each in by the toss of a coin.")] = 500,
    public: Annotated[bool, typer.Option("--public", help="The data set is public: charge nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Bound a generator's epsilon from below, by one fit with canaries; nothing of the fit is kept."""
    settings = read_config(config, SynthesizeConfig, overrides or ())
    with progress_of("auditing") as progress:
        result = run(opened_to_write(context), settings, canaries=canaries, public=public, progress=progress)
    show(result, as_json)
