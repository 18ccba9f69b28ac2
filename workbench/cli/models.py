"""Generators and ensembles: fit, sample, train, predict; long work as jobs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.terms import Detach, Json, Set, opened, opened_to_write, progress_of, run_job, show
from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.config import TrainConfig

app = typer.Typer()
jobs_app = typer.Typer(help="Long work, here or in processes of its own.", no_args_is_help=True)
app.add_typer(jobs_app, name="jobs")

Job = Annotated[str, typer.Argument(help="A job, as jobs list tells it.")]


@app.command()
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
    from workbench.config import SynthesizeConfig, read_config
    from workbench.workflows.synthesis.preflight import preflight

    settings = read_config(config, SynthesizeConfig, overrides or ())
    if plan:
        show(preflight(opened(context), settings), as_json)
        return
    run_job(context, "synthesize", settings.model_dump(mode="json"), detach, as_json)


@app.command()
def sample(
    context: typer.Context,
    generator: Annotated[str, typer.Argument(help="A fitted generator.")],
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
    from workbench.workflows.synthesis.sample import sample as run

    with progress_of("sampling") as progress:
        result = run(
            opened(context), generator, n, out, seed=seed, where=where or (), recipient=recipient, progress=progress
        )
    show(result, as_json)


@app.command()
def audit(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="The config of a generator.")],
    overrides: Set = None,
    canaries: Annotated[int, typer.Option(help="Artificial subjects, each in by the toss of a coin.")] = 500,
    public: Annotated[bool, typer.Option("--public", help="The data set is public: charge nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Bound a generator's epsilon from below, by one fit with canaries; nothing of the fit is kept."""
    from workbench.config import SynthesizeConfig, read_config
    from workbench.workflows.evaluation.canary_audit import audit as run

    settings = read_config(config, SynthesizeConfig, overrides or ())
    with progress_of("auditing") as progress:
        result = run(opened_to_write(context), settings, canaries=canaries, public=public, progress=progress)
    show(result, as_json)


@app.command()
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
    from workbench.config import TrainConfig, read_config

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
    from workbench.workflows.training.advise_shards import advise

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
    from workbench.cli.render import show_advice

    show_advice(result)


@app.command()
def predict(
    context: typer.Context,
    ensemble: Annotated[str, typer.Argument(help="A trained ensemble.")],
    data: Annotated[Path, typer.Option(help="A table with the feature columns.")],
    out: Annotated[Path, typer.Option(help="A .parquet file.")],
    as_json: Json = False,
) -> None:
    """Predict with an ensemble's current version; shards under quarantine don't answer."""
    from workbench.workflows.training.predict import predict as run

    show(run(opened(context), ensemble, data, out), as_json)


@app.command()
def retire(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="An ensemble or a generator.")],
    as_json: Json = False,
) -> None:
    """Withdraw an ensemble or a generator for good, with all that was derived from it, also where it is damaged."""
    from workbench.workflows.erasure.retire import retire as run

    show(run(opened(context), name), as_json)


@jobs_app.command("list")
def jobs_list(context: typer.Context, as_json: Json = False) -> None:
    """List jobs, with who works on them and how far they are."""
    from workbench.workflows.operations.jobs import list_jobs

    told = list_jobs(opened(context)).to_json()
    if not as_json:  # hundreds of numbers for each job: the app draws them
        told = {"jobs": [{key: value for key, value in job.items() if key != "detail"} for job in told["jobs"]]}
    show(told, as_json)


@jobs_app.command("cancel")
def jobs_cancel(context: typer.Context, job: Job, as_json: Json = False) -> None:
    """Ask a job to stop; what it has begun is taken back."""
    from workbench.workflows.operations.jobs import cancel_job

    show(cancel_job(opened(context), job), as_json)


@jobs_app.command("run")
def jobs_run(context: typer.Context, job: Job, as_json: Json = False) -> None:
    """Work on a job that waits, or whose worker died."""
    from workbench.workflows.operations.jobs import take_job

    with progress_of(job) as progress:
        result = take_job(opened(context), job, progress)
    show(result, as_json)
