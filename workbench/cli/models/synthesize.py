"""`workbench synthesize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.long_work import run_job
from workbench.cli.terms import Detach, Json, Set, opened, show
from workbench.config import SynthesizeConfig, read_config
from workbench.workflows.synthesis.preflight import preflight


def synthesize(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="The config of a generator.")],
    overrides: Set = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what it would cost and take; nothing is read.")
    ] = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Fit a generator and release a synthetic table."""
    settings = read_config(config, SynthesizeConfig, overrides or ())
    if plan:
        show(preflight(opened(context), settings), as_json)
        return
    run_job(context, "synthesize", settings.model_dump(mode="json"), detach, as_json)
