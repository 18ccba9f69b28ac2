"""Generators and ensembles: fit, sample, train, predict; long work as jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Detach, Json, Set, opened, progress_of, run_job, show

app = typer.Typer()
jobs_app = typer.Typer(help="Long work, here or in processes of its own.", no_args_is_help=True)
app.add_typer(jobs_app, name="jobs")


@app.command()
def synthesize(
    context: typer.Context,
    config: Path,
    overrides: Set = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what it would cost and take; nothing is read.")
    ] = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Fit a generator and release a synthetic table."""
    from workbench.config import SynthesizeConfig, read_config
    from workbench.workflows.preflight import preflight

    settings = read_config(config, SynthesizeConfig, overrides or ())
    if plan:
        show(preflight(opened(context), settings), as_json)
        return
    run_job(context, "synthesize", settings.model_dump(mode="json"), detach, as_json)


@app.command()
def sample(
    context: typer.Context,
    generator: str,
    n: Annotated[int, typer.Option("-n", help="How many rows.")],
    out: Annotated[Path, typer.Option(help="A .parquet or .csv file.")],
    seed: Annotated[int | None, typer.Option(help="Equal seeds give equal rows.", min=0)] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=VALUES", help="Only such rows: sex=Female, age=30..39, a=x|y.")
    ] = None,
    recipient: Annotated[
        str | None, typer.Option(help="Who gets the file; an erasure names it as one to notify. Nobody in the data.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw rows from a fitted generator; this costs no budget."""
    from workbench.workflows.sample import sample as run

    with progress_of("sampling") as progress:
        result = run(
            opened(context), generator, n, out, seed=seed, where=where or (), recipient=recipient, progress=progress
        )
    show(result, as_json)


@app.command()
def train(
    context: typer.Context, config: Path, overrides: Set = None, detach: Detach = False, as_json: Json = False
) -> None:
    """Train a SISA ensemble."""
    from workbench.config import TrainConfig, read_config

    settings = read_config(config, TrainConfig, overrides or ())
    run_job(context, "train", settings.model_dump(mode="json"), detach, as_json)


@app.command()
def predict(
    context: typer.Context,
    ensemble: str,
    data: Annotated[Path, typer.Option(help="A table with the feature columns.")],
    out: Annotated[Path, typer.Option(help="A .parquet file.")],
    as_json: Json = False,
) -> None:
    """Predict with an ensemble's current version; shards under quarantine don't answer."""
    from workbench.workflows.predict import predict as run

    show(run(opened(context), ensemble, data, out), as_json)


@app.command()
def retire(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="An ensemble or a generator.")],
    as_json: Json = False,
) -> None:
    """Withdraw an ensemble or a generator for good, with all that was derived from it, also where it is damaged."""
    from workbench.workflows.retire import retire as run

    show(run(opened(context), name), as_json)


@jobs_app.command("list")
def jobs_list(context: typer.Context, as_json: Json = False) -> None:
    """List jobs, with who works on them and how far they are."""
    from workbench.workflows.jobs import list_jobs

    show(list_jobs(opened(context)), as_json)


@jobs_app.command("cancel")
def jobs_cancel(context: typer.Context, job: str, as_json: Json = False) -> None:
    """Ask a job to stop; what it has begun is taken back."""
    from workbench.workflows.jobs import cancel_job

    show(cancel_job(opened(context), job), as_json)


@jobs_app.command("run")
def jobs_run(context: typer.Context, job: str, as_json: Json = False) -> None:
    """Work on a job that waits, or whose worker died."""
    from workbench.workflows.jobs import take_job

    with progress_of(job) as progress:
        result = take_job(opened(context), job, progress)
    show(result, as_json)
