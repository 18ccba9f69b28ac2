"""How good and how private a thing is: evaluations, reports, comparisons, sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Json, Set, opened, opened_to_write, progress_of, show

app = typer.Typer()

Of = Annotated[str, typer.Argument(metavar="ID", help="A release, a generator, an ensemble or an erasure request.")]
Where = Annotated[str | None, typer.Option(help="The data set, where an erasure concerns several.")]


@app.command()
def evaluate(
    context: typer.Context,
    name: Of,
    dataset: Where = None,
    rows: Annotated[int, typer.Option(help="At most about so many rows of each table are looked at.", min=1)] = 50_000,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal figures.", min=0)] = 0,
    shadow: Annotated[
        bool,
        typer.Option("--shadow", help="Also attack by fitting the generator four times, charged if it is private."),
    ] = False,
    rules: Annotated[
        Path | None, typer.Option(help="Thresholds of the verdicts; default: configs/verdicts.yaml.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure how good and how private a thing is: fidelity, utility, attacks, cost, and what it is fit for. Internal."""
    from workbench.workflows.evaluation.evaluate import evaluate as run
    from workbench.workflows.evaluation.subject import Settings

    settings = Settings(seed=seed, rows=rows, shadow=shadow)
    with progress_of("evaluating") as progress:
        found = run(opened_to_write(context), name, dataset=dataset, settings=settings, rules=rules, progress=progress)
    if as_json:
        show(found.to_json(), as_json)
        return
    from workbench.cli.render import show_evaluation

    show_evaluation(found.to_json())


@app.command()
def report(
    context: typer.Context,
    name: Of,
    out: Annotated[Path, typer.Option(help="A .html file.")],
    dataset: Where = None,
    as_json: Json = False,
) -> None:
    """Write an evaluation as one page that needs no network."""
    from workbench.workflows.evaluation.report import report_evaluation

    show(report_evaluation(opened(context), name, out, dataset=dataset), as_json)


@app.command()
def card(
    context: typer.Context,
    name: Of,
    out: Annotated[Path, typer.Option(help="A .md file.")],
    internal: Annotated[bool, typer.Option("--internal", help="With figures computed from people's records.")] = False,
    as_json: Json = False,
) -> None:
    """Write the data card of a release, or the model card of an ensemble, in Hugging Face's Markdown."""
    from workbench.workflows.evaluation.report import report_card

    show(report_card(opened(context), name, out, internal=internal), as_json)


@app.command()
def compare(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="ID...", help="What was evaluated.")],
    out: Annotated[Path | None, typer.Option(help="A .html file.")] = None,
    as_json: Json = False,
) -> None:
    """Compare evaluations figure by figure."""
    from workbench.workflows.evaluation.report import compare as run

    show(run(opened(context), names, out), as_json)


@app.command()
def sweep(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="The config of a generator.")],
    over: Annotated[
        list[str], typer.Option(metavar="FIELD=A,B", help="The values to try; of several fields, every combination.")
    ],
    overrides: Set = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what all of it would cost; nothing is read.")] = False,
    out: Annotated[Path | None, typer.Option(help="A .html file for the comparison.")] = None,
    as_json: Json = False,
) -> None:
    """Fit, release and evaluate a generator under several settings, once the budget for all of them is there."""
    from workbench.workflows.evaluation.sweep import configs_of, plan_sweep
    from workbench.workflows.evaluation.sweep import sweep as run

    configs = configs_of(config, over, overrides or ())
    if plan:
        show(plan_sweep(opened(context), configs), as_json)
        return
    with progress_of("sweep") as progress:
        result = run(opened_to_write(context), configs, out=out, progress=progress)
    show(result, as_json)
