"""`workbench train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.long_work import opened_to_write, run_job
from workbench.cli.render import show_advice
from workbench.cli.terms import Detach, Json, Set, progress_of, show
from workbench.config import TrainConfig, read_config
from workbench.errors import InputError
from workbench.workflows.training.advise_shards import advise


def train(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="The config of a model.")],
    overrides: Set = None,
    advise: Annotated[
        bool, typer.Option("--advise", help="Only compare numbers of shards and slices; nothing is published.")
    ] = False,
    requests: Annotated[float, typer.Option(help="With --advise: erasure requests a day.")] = 1.0,
    loss: Annotated[float, typer.Option(help="With --advise: how much of the metric may be lost.")] = 0.01,
    public: Annotated[
        bool, typer.Option("--public", help="With --advise: the data set is public, so the config isn't marked.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="With --advise: write the recommended config, as YAML.")] = None,
    plot: Annotated[Path | None, typer.Option(help="With --advise: draw accuracy against cost, as SVG.")] = None,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Train a SISA ensemble, or with --advise see what numbers of shards and slices cost and lose."""
    settings = read_config(config, TrainConfig, overrides or ())
    sources = {name: context.get_parameter_source(name) for name in ("requests", "loss", "public", "out", "plot")}
    misplaced = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if misplaced and not advise:
        raise InputError(f"--{misplaced[0]} goes with --advise alone", hint="add --advise, or leave it out")
    if advise:
        if detach:
            raise InputError("--advise answers here and now: it goes without --detach", hint="leave out --detach")
        _advise(context, settings, requests, loss, public, out, plot, as_json)
        return
    run_job(context, "train", settings.model_dump(mode="json"), detach, as_json)


def _advise(
    context: typer.Context,
    settings: TrainConfig,
    requests: float,
    loss: float,
    public: bool,
    out: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    with progress_of("comparing") as progress:
        result = advise(
            opened_to_write(context),
            settings,
            requests_a_day=requests,
            most_lost=loss,
            public=public,
            out=out,
            plot=plot,
            progress=progress,
        )
    if as_json:
        show(result, as_json)
        return
    show_advice(result)
